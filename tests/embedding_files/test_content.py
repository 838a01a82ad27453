"""What kind of file it is, by its first bytes; damaged and huge ones are refused in so many words."""

import io
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save

from tests.embeddings import refusal, rows
from ti_trainer.embedding_files import Embedding, read_embedding
from ti_trainer.embedding_files.cards import read_card
from ti_trainer.embedding_files.content import HEAD, kind_of, parse
from ti_trainer.embedding_files.formats import pack_card
from ti_trainer.embedding_files.pickles import read_pickle
from ti_trainer.embedding_files.tensors import read_tensors

pytestmark = pytest.mark.usefixtures("bounded_memory")


def pickled(zipped: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save({"emb_params": rows()}, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, kind)
    return buffer.getvalue()


def test_kind_is_told_by_what_wrote_it() -> None:
    """As safetensors, torch and Pillow write them."""
    readers = {
        read_tensors: [save({"emb_params": rows()})],
        read_pickle: [pickled(True), pickled(False)],
        read_card: [picture(kind) for kind in ("PNG", "WEBP", "JPEG", "GIF", "BMP")],
    }
    for reader, files in readers.items():
        for data in files:
            assert kind_of(data[:HEAD], len(data))[1] is reader


def test_content_is_the_same_whatever_the_file_is_called(tmp_path: Path) -> None:
    card = pack_card(Embedding("<cat>", {"clip_l": rows()}))[0]
    for name in ("x.safetensors", "x.pt", "x.png", "x"):
        for data in (save({"emb_params": rows()}), pickled(True), pickled(False)):
            (tmp_path / name).write_bytes(data)
            content = parse(tmp_path / name)
            assert content.names == ["emb_params"]
            assert torch.equal(content.data["emb_params"], rows())
        (tmp_path / name).write_bytes(card)
        content = parse(tmp_path / name)
        assert content.data["name"] == "cat"
        assert torch.equal(content.data["string_to_param"]["*"], rows())


def test_names_and_metadata(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(save({"b": rows(), "a": rows()}, {"key": "value"}))
    content = parse(tmp_path / "x.safetensors")
    assert (sorted(content.names), dict(content.metadata)) == (["a", "b"], {"key": "value"})
    torch.save({"text": 1, 7: 2}, tmp_path / "x.pt")
    content = parse(tmp_path / "x.pt")
    assert (content.names, dict(content.metadata)) == (["text"], {})
    torch.save([1, 2], tmp_path / "x.pt")
    assert parse(tmp_path / "x.pt").names == []


def header(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


WHOLE = save({"emb_params": rows()})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1234\nsize 6254\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html><body>404</body></html>", "is a web page"),
        (b"\xef\xbb\xbf<HTML><body>Sign in</body></html>", "is a web page"),
        (b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", "is a web page"),
        (b"not an embedding at all", "is no safetensors file, no pickle of torch and no picture"),
        (b"\x80", "is damaged"),
        (WHOLE[:-1], "is no whole safetensors file"),
        (WHOLE[:50], "is truncated"),
        (WHOLE[:12], "is truncated"),
        (WHOLE + b"more", "is no whole safetensors file"),
        (b"\xff" * 7 + b"\x7f" + b"{}", "header of 9,223,372,036,854,775,807 bytes"),
        ((2**40).to_bytes(8, "little") + b'{"a":1}', "header of 1,099,511,627,776 bytes"),
        (
            header(b'{"a":{"dtype":"F32","shape":[99999999,768],"data_offsets":[0,4]}}') + b"0000",
            "no whole safetensors",
        ),
        (header(b'{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}') + b"0000", "no whole safetensors"),
        (header(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}') + b"0000", "no whole safetensors"),
        (save({}), "holds no embedding"),
        (b"PK\x03\x04" + bytes(100), "is damaged"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "is a damaged picture"),
        (b"RIFF\x00\x00\x00\x00WEBP", "is a damaged picture"),
    ],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_damaged_files(tmp_path: Path, content: bytes, message: str, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    assert message in refusal(path)


@pytest.mark.parametrize(("length", "start"), [(640, b"\x80\x02"), (19778, b"BM")])
def test_headers_that_begin_as_other_files_do(tmp_path: Path, length: int, start: bytes) -> None:
    """The length of the header comes first: 640 bytes are the start of a pickle, 19,778 that of a bitmap."""
    size = int.from_bytes(WHOLE[:8], "little")
    data = header(WHOLE[8 : 8 + size].ljust(length)) + WHOLE[8 + size :]
    assert data[:2] == start
    (tmp_path / "x.pt").write_bytes(data)
    assert torch.equal(read_embedding(tmp_path / "x.pt").vectors["clip_l"], rows())


def test_files_of_a_gigabyte(tmp_path: Path) -> None:
    """A header that claims one and is there; a pickle and a picture of that size. All are holes on the disk."""
    path = tmp_path / "x.safetensors"
    for start, message in [
        ((2**30).to_bytes(8, "little") + b'{"a":', "has a header of 1,073,741,824 bytes"),
        (b"\x80\x02", "is a pickle of 1,073,741,900 bytes"),
        (b"\x89PNG\r\n\x1a\n", "is a picture of 1,073,741,900 bytes"),
    ]:
        with path.open("wb") as file:
            file.write(start)
            file.truncate(2**30 + 76)
        assert message in refusal(path)


def test_large_model_is_not_read(tmp_path: Path) -> None:
    """A gigabyte of tensors is mapped, looked at, and refused by the number of its tensors."""
    entries = {
        f"model.{number}": {"dtype": "F32", "shape": [2**22], "data_offsets": [number * 2**24, (number + 1) * 2**24]}
        for number in range(64)
    }
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        file.write(header(json.dumps(entries).encode()))
        file.truncate(file.tell() + 2**30)
    assert "is a model" in refusal(path)


def test_not_a_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere.safetensors"):
        assert ("is not a file but a folder" if path.is_dir() else "cannot be read: No such file") in refusal(path)
