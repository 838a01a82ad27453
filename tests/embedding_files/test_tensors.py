"""safetensors files, byte by byte."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save

from tests.embeddings import rows
from ti_trainer.embedding_files.tensors import modelspec_hash, read_tensors, sort_metadata, tensor_bytes
from ti_trainer.errors import BadInput

METADATA = {letter: letter.upper() for letter in "qwertyuiopasdfghjklzxcvbnm"}


def split(data: bytes) -> tuple[dict[str, dict[str, object]], bytes]:
    """The JSON header and the tensor section, as the safetensors format describes them."""
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def test_same_bytes_for_the_same_content() -> None:
    tensors = {"b": rows(), "a": rows(1, 3)}
    first = tensor_bytes(tensors, METADATA)
    assert first == tensor_bytes(dict(reversed(tensors.items())), dict(reversed(METADATA.items())))
    header, _ = split(first)
    assert list(header["__metadata__"].items()) == sorted(METADATA.items())
    assert all(torch.equal(load(first)[key], tensors[key]) for key in tensors)


def test_without_metadata() -> None:
    header, section = split(tensor_bytes({"a": rows()}, {}))
    assert header == {"__metadata__": {}, "a": {"dtype": "F32", "shape": [2, 768], "data_offsets": [0, 6144]}}
    assert section == rows().numpy().tobytes()


@pytest.mark.parametrize("length", range(9))
def test_tensors_start_at_a_multiple_of_8(tmp_path: Path, length: int) -> None:
    """Whatever the length of the metadata, in letters of two bytes; safetensors itself reads it."""
    tensors = {"b": rows(1, 3), "a": torch.arange(3), "c": torch.tensor(2.5)}
    data = tensor_bytes(tensors, {"x": "ü" * length})
    assert int.from_bytes(data[:8], "little") % 8 == 0
    (tmp_path / "x.safetensors").write_bytes(data)
    with safe_open(tmp_path / "x.safetensors", framework="pt") as file:
        assert file.metadata() == {"x": "ü" * length}
        assert all(torch.equal(file.get_tensor(key), tensor) for key, tensor in tensors.items())


def test_sorting_moves_no_tensor() -> None:
    payload = save({"a": rows(), "b": rows(3, 5)}, METADATA)
    header, section = split(payload)
    sorted_header, sorted_section = split(sort_metadata(payload))
    assert (sorted_header, sorted_section) == (header, section)
    assert sort_metadata(sort_metadata(payload)) == sort_metadata(payload)


def test_hash_is_that_of_the_section_behind_the_header() -> None:
    for tensors in ({"a": rows()}, {"clip_l": rows(), "clip_g": rows(2, 1280)}):
        _, section = split(tensor_bytes(tensors, METADATA))
        assert modelspec_hash(tensors) == "0x" + hashlib.sha256(section).hexdigest()
    assert modelspec_hash({"a": rows()}) == "0x" + hashlib.sha256(rows().numpy().tobytes()).hexdigest()


def test_read_is_what_was_written(tmp_path: Path) -> None:
    tensors = {"a": rows(), "b": rows(2, 3).half(), "c": torch.tensor(7)}
    (tmp_path / "x").write_bytes(save(tensors, {"key": "value"}))
    found, metadata = read_tensors(tmp_path / "x")
    assert metadata == {"key": "value"}
    assert found.keys() == tensors.keys()
    assert all(found[key].dtype == tensors[key].dtype and torch.equal(found[key], tensors[key]) for key in tensors)
    (tmp_path / "x").write_bytes(save(tensors))
    assert read_tensors(tmp_path / "x")[1] == {}


def test_header_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    """4 MiB is the most."""
    for size, message in ((4 * 2**20 + 1, "has a header of 4,194,305 bytes"), (4 * 2**20, "no whole safetensors file")):
        (tmp_path / "x").write_bytes(size.to_bytes(8, "little") + b"{}")
        with pytest.raises(BadInput, match=message):
            read_tensors(tmp_path / "x")


def test_headers_are_counted_before_they_are_parsed(tmp_path: Path) -> None:
    """A hundred thousand tensors of no bytes took a quarter of a minute."""
    tensor = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    for count, message in ((8_000, "header for 8,001 tensors"), (100_000, "bytes, and 4,194,304 is the most")):
        header = json.dumps({str(number): tensor for number in range(count)}).encode()
        (tmp_path / "x").write_bytes(len(header).to_bytes(8, "little") + header)
        with pytest.raises(BadInput, match=message):
            read_tensors(tmp_path / "x")


def test_messages_do_not_repeat_the_file(tmp_path: Path) -> None:
    header = b'{"a":{"dtype":"' + b"F" * 1_000_000 + b'","shape":[1],"data_offsets":[0,4]}}'
    (tmp_path / "x").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(BadInput) as refusal:
        read_tensors(tmp_path / "x")
    assert len(str(refusal.value)) < 500
