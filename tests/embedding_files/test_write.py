import hashlib
import json
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from tests.embeddings import rows
from tests.published_widths import PUBLISHED
from ti_trainer.embedding_files import FORMATS, Embedding, read_embedding, write_embedding
from ti_trainer.errors import BadInput

METADATA = {f"ti_trainer.{letter}": letter.upper() for letter in "qwertyuiopasdfghjkl"} | {"ti_trainer.token": "<cät>"}


def header_of(data: bytes) -> tuple[dict, bytes]:
    """The JSON header and the tensor section, as the safetensors format describes them."""
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


# what each family's models have; "tiny" stands for any other width
MODELS = {
    **PUBLISHED,
    "tiny SD 1.x": {"clip_l": 32},
    "tiny SD 2.x": {"clip_h": 32},
    "tiny SDXL": {"clip_l": 32, "clip_g": 48},
}
QWEN = ("Anima", "Flux.2 Klein 4B", "Flux.2 Klein 9B")
FLOWS = ("SD 3", "Flux", "Chroma", *QWEN)
NOT_SINGLE = ("SDXL", "tiny SDXL", *FLOWS)
NOT_HELD = {"kohya": FLOWS, "onetrainer": QWEN, "a1111-pt": NOT_SINGLE, "png-card": NOT_SINGLE}
WRITTEN = [name for name, row in FORMATS.items() if row.pack]


def vectors_for(family: str, count: int) -> dict[str, torch.Tensor]:
    return {slot: rows(count, width) for slot, width in MODELS[family].items()}


@pytest.mark.parametrize(
    ("file_format", "family", "files"),
    [
        ("webui", "SD 1.x", [{"emb_params": "clip_l"}]),
        ("webui", "SD 2.x", [{"emb_params": "clip_h"}]),
        ("webui", "SDXL", [{"clip_l": "clip_l", "clip_g": "clip_g"}]),
        ("webui", "SD 3", [{"clip_l": "clip_l", "clip_g": "clip_g", "t5xxl": "t5xxl"}]),
        ("webui", "Flux", [{"clip_l": "clip_l", "t5xxl": "t5xxl"}]),
        ("webui", "Chroma", [{"t5xxl": "t5xxl"}]),
        ("webui", "Anima", [{"qwen3_06b": "qwen3_06b"}]),
        ("webui", "Flux.2 Klein 4B", [{"qwen3_4b": "qwen3_4b"}]),
        ("webui", "Flux.2 Klein 9B", [{"qwen3_8b": "qwen3_8b"}]),
        ("diffusers", "SD 1.x", [{"<cat>": "clip_l"}]),
        ("diffusers", "SD 2.x", [{"<cat>": "clip_h"}]),
        ("diffusers", "SDXL", [{"<cat>": "clip_l"}, {"<cat>": "clip_g"}]),
        ("diffusers", "SD 3", [{"<cat>": "clip_l"}, {"<cat>": "clip_g"}, {"<cat>": "t5xxl"}]),
        ("diffusers", "Flux", [{"<cat>": "clip_l"}, {"<cat>": "t5xxl"}]),
        ("kohya", "SD 1.x", [{"emb_params": "clip_l"}]),
        ("kohya", "SDXL", [{"clip_l": "clip_l", "clip_g": "clip_g"}]),
        ("onetrainer", "SD 1.x", [{"emp_params": "clip_l"}]),
        ("onetrainer", "SDXL", [{"clip_l": "clip_l", "clip_g": "clip_g"}]),
        ("onetrainer", "SD 3", [{"clip_l": "clip_l", "clip_g": "clip_g", "t5": "t5xxl"}]),
        ("onetrainer", "Chroma", [{"t5": "t5xxl"}]),
        ("onetrainer", "Flux", [{"clip_l": "clip_l", "t5": "t5xxl"}]),
    ],
)
@pytest.mark.parametrize("count", [1, 3])
def test_exact_contents(tmp_path, file_format: str, family: str, files: list[dict[str, str]], count: int) -> None:
    vectors = vectors_for(family, count)
    paths = write_embedding(Embedding("<cat>", vectors), tmp_path / "cat.safetensors", file_format)
    assert [path.name for path in paths] == ["cat.safetensors", "cat_2.safetensors", "cat_3.safetensors"][: len(files)]
    assert sorted(paths) == sorted(tmp_path.iterdir())
    for path, keys in zip(paths, files, strict=True):
        tensors = load_file(path)
        assert set(tensors) == set(keys)
        for key, slot in keys.items():
            assert torch.equal(tensors[key], vectors[slot])
            assert tensors[key].dtype == torch.float32
            assert tensors[key].ndim == 2  # for one vector too


def test_flux_with_clip_alone(tmp_path) -> None:
    """It is the width of SD 1.x: only the metadata tell them apart."""
    embedding = Embedding("<cat>", {"clip_l": rows()}, {"modelspec.architecture": "flux-1-dev/textual-inversion"})
    for file_format in ("webui", "onetrainer"):
        (path,) = write_embedding(embedding, tmp_path / "cat.safetensors", file_format)
        assert set(load_file(path)) == {"clip_l"}
        assert read_embedding(path).families == ("Flux",)


@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("file_format", WRITTEN)
@pytest.mark.parametrize("count", [1, 4])
def test_round_trip(tmp_path, file_format: str, family: str, count: int) -> None:
    """Token, vectors and metadata, through every format that holds the family; the second writing is as the first."""
    vectors = vectors_for(family, count)
    path = tmp_path / "deep" / "er" / f"x{FORMATS[file_format].suffix}"
    embedding = Embedding("<cat>", vectors, METADATA | {"ti_trainer.token": "stale"})
    if family in NOT_HELD.get(file_format, ()):
        with pytest.raises(BadInput, match=f"<cat> has vectors for .*{file_format}.* choose another to"):
            write_embedding(embedding, path, file_format)
        return
    first = write_embedding(embedding, path, file_format)
    found = read_embedding(first[0])
    assert found.token == "<cat>"
    assert set(found.vectors) == set(vectors)
    assert all(torch.equal(found.vectors[slot], vectors[slot]) for slot in vectors)
    assert (METADATA | {"ti_trainer.token": "<cat>"}).items() <= found.metadata.items()
    second = write_embedding(found, path.with_name(f"y{path.suffix}"), file_format)
    assert len(second) == len(first)
    for one, other in zip(first, second, strict=True):
        assert read_embedding(other).metadata == {**read_embedding(one).metadata}
        if path.suffix == ".safetensors":  # hash and all; torch writes memory addresses into its old pickles
            assert one.read_bytes() == other.read_bytes()


def test_metadata_of_every_file(tmp_path) -> None:
    """Names follow the token, and each file says which text encoders it has."""
    stale = {"modelspec.title": "old", "modelspec.trigger_phrase": "<old>", "ti_trainer.token": "<old>"}
    embedding = Embedding("<cat>", vectors_for("SDXL", 1), stale)
    for path, slot in zip(
        write_embedding(embedding, tmp_path / "a.safetensors", "diffusers"), MODELS["SDXL"], strict=True
    ):
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        assert metadata.pop("modelspec.usage_hint") == "write cat (WebUIs) or <cat> (diffusers) in the prompt"
        assert metadata.pop("modelspec.hash_sha256").startswith("0x")
        assert metadata == {
            "format": "pt",
            "modelspec.title": "cat",
            "modelspec.trigger_phrase": "<cat>",
            "ti_trainer.token": "<cat>",
            "ti_trainer.slots": slot,
        }


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
    assert METADATA.items() - {("ti_trainer.token", "<cät>")} <= written.items()


def test_hash_is_that_of_the_tensors(tmp_path) -> None:
    path = tmp_path / "cat.safetensors"
    stale = {"modelspec.hash_sha256": "0x0"}
    write_embedding(Embedding("<cat>", {"clip_l": rows()}, stale), path, "webui")
    header, section = header_of(path.read_bytes())
    assert section == rows().numpy().tobytes()
    assert header["__metadata__"]["modelspec.hash_sha256"] == "0x" + hashlib.sha256(section).hexdigest()


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


@pytest.mark.parametrize("name", ["list", "safetensor"])
def test_formats_that_are_not_written(tmp_path, name: str) -> None:
    with pytest.raises(BadInput, match=f"'{name}' is no format to write; choose one of webui, diffusers"):
        write_embedding(Embedding("<cat>", {"clip_l": rows()}), tmp_path / "cat.safetensors", name)
    assert list(tmp_path.iterdir()) == []
