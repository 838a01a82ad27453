import hashlib
import json
import os
import stat

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from ti_trainer.embedding_files import FORMATS, Embedding, read_embedding, write_embedding
from ti_trainer.embedding_files.write import write_tensors


def rows(count: int = 2, width: int = 768) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(0))


METADATA = {f"ti_trainer.{letter}": letter.upper() for letter in "qwertyuiopasdfghjkl"} | {"ti_trainer.token": "<cät>"}


def header_of(data: bytes) -> tuple[dict, bytes]:
    """The JSON header and the tensor section, as the safetensors format describes them."""
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


@pytest.mark.parametrize(("file_format", "key"), [("webui", "emb_params"), ("diffusers", "<cat>")])
@pytest.mark.parametrize("count", [1, 3])
def test_exact_contents(tmp_path, file_format: str, key: str, count: int) -> None:
    path = tmp_path / "cat.safetensors"
    write_embedding(Embedding("<cat>", {"clip_l": rows(count)}), path, file_format)
    tensors = load_file(path)
    assert list(tensors) == [key]
    assert torch.equal(tensors[key], rows(count))
    assert tensors[key].dtype == torch.float32
    assert tensors[key].shape == (count, 768)  # 2-D for one vector too


@pytest.mark.parametrize("file_format", list(FORMATS))
@pytest.mark.parametrize("count", [1, 75])
def test_round_trip(tmp_path, file_format: str, count: int) -> None:
    path = tmp_path / "deep" / "er" / "cat.safetensors"
    write_embedding(Embedding("<cat>", {"clip_l": rows(count)}, METADATA), path, file_format)
    found = read_embedding(path)
    assert found.num_vectors == count
    assert torch.equal(found.vectors["clip_l"], rows(count))
    assert METADATA.items() <= found.metadata.items()


def test_slice_of_a_big_table_gives_a_small_file(tmp_path) -> None:
    table = torch.zeros(49408, 768)
    table[40_000:40_002] = rows()
    path = tmp_path / "cat.safetensors"
    write_embedding(Embedding("<cat>", {"clip_l": table[40_000:40_002]}), path, "webui")
    assert path.stat().st_size < 2 * 768 * 4 + 500
    assert torch.equal(load_file(path)["emb_params"], rows())


@pytest.mark.parametrize("change", [torch.Tensor.half, torch.Tensor.bfloat16, torch.Tensor.double])
def test_other_precisions_become_float32(tmp_path, change) -> None:
    path = tmp_path / "cat.safetensors"
    write_embedding(Embedding("<cat>", {"clip_l": change(rows())}), path, "webui")
    assert torch.equal(load_file(path)["emb_params"], change(rows()).float())


def test_trained_and_transposed_rows(tmp_path) -> None:
    path = tmp_path / "cat.safetensors"
    parameter = torch.nn.Parameter(rows(768, 2))
    write_embedding(Embedding("<cat>", {"clip_l": parameter.T}), path, "webui")
    assert torch.equal(load_file(path)["emb_params"], rows(768, 2).T)


def test_metadata_in_order_and_the_same_bytes_twice(tmp_path) -> None:
    paths = [tmp_path / f"{number}.safetensors" for number in range(3)]
    for path, metadata in zip(paths, (METADATA, METADATA, dict(reversed(METADATA.items()))), strict=True):
        write_embedding(Embedding("<cat>", {"clip_l": rows()}, metadata), path, "webui")
    first, second, third = (path.read_bytes() for path in paths)
    assert first == second == third
    written = header_of(first)[0]["__metadata__"]
    assert list(written) == sorted(written)
    assert written == {**METADATA, "format": "pt", "modelspec.hash_sha256": written["modelspec.hash_sha256"]}


def test_hash_is_that_of_the_tensors(tmp_path) -> None:
    path = tmp_path / "cat.safetensors"
    stale = {"modelspec.hash_sha256": "0x0"}
    write_embedding(Embedding("<cat>", {"clip_l": rows()}, stale), path, "webui")
    header, section = header_of(path.read_bytes())
    assert section == rows().numpy().tobytes()
    assert header["__metadata__"]["modelspec.hash_sha256"] == "0x" + hashlib.sha256(section).hexdigest()


def test_tensors_start_at_a_multiple_of_8(tmp_path) -> None:
    for length in range(9):
        path = tmp_path / f"{length}.safetensors"
        write_tensors({"b": rows(1, 3), "a": torch.arange(3), "c": torch.tensor(2.5)}, {"x": "ü" * length}, path)
        data = path.read_bytes()
        assert int.from_bytes(data[:8], "little") % 8 == 0
        with safe_open(path, framework="pt") as file:
            assert file.metadata() == {"x": "ü" * length}
            assert torch.equal(file.get_tensor("b"), rows(1, 3))
            assert file.get_tensor("a").tolist() == [0, 1, 2]
            assert file.get_tensor("c").item() == 2.5


@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, step: str) -> None:
    path = tmp_path / "cat.safetensors"
    write_embedding(Embedding("<cat>", {"clip_l": rows(1)}), path, "webui")
    before = path.read_bytes()

    def fail(*arguments) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(OSError, match="no space"):
            write_embedding(Embedding("<cat>", {"clip_l": rows(3)}), path, "webui")
    assert [item.name for item in tmp_path.iterdir()] == ["cat.safetensors"]
    assert path.read_bytes() == before
    write_embedding(Embedding("<cat>", {"clip_l": rows(3)}), path, "webui")
    assert len(load_file(path)["emb_params"]) == 3
    assert [item.name for item in tmp_path.iterdir()] == ["cat.safetensors"]


def test_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch) -> None:
    """fsync comes before the rename: after a power cut there is the old file or the whole new one."""
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (calls.append(("fsync", os.fstat(file).st_size)), fsync(file))[1])
    monkeypatch.setattr(os, "replace", lambda old, new: (calls.append(("replace", str(new))), replace(old, new))[1])
    path = tmp_path / "cat.safetensors"
    write_embedding(Embedding("<cat>", {"clip_l": rows()}), path, "webui")
    assert calls == [("fsync", path.stat().st_size), ("replace", str(path))]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_others_may_read_it(tmp_path) -> None:
    path = tmp_path / "cat.safetensors"
    write_embedding(Embedding("<cat>", {"clip_l": rows()}), path, "webui")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_unknown_format(tmp_path) -> None:
    with pytest.raises(KeyError):
        write_embedding(Embedding("<cat>", {"clip_l": rows()}), tmp_path / "cat.safetensors", "kohya")
    assert list(tmp_path.iterdir()) == []
