"""`convert`: what it writes, under which name, and what it refuses to write over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from ti_trainer.embedding_files import FORMATS, Embedding, read_embedding, write_embedding
from ti_trainer.embedding_files.conversion import convert
from ti_trainer.errors import BadInput

WRITTEN = [name for name, row in FORMATS.items() if row.pack]


def rows(count: int = 2, width: int = 768) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(width))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A pickle of A1111."""
    content = {"string_to_token": {"*": 265}, "string_to_param": {"*": rows()}, "name": "cat", "step": 70}
    torch.save({**content, "sd_checkpoint": "a1b2", "sd_checkpoint_name": "sd"}, tmp_path / "Old Cat.pt")
    return tmp_path / "Old Cat.pt"


def test_named_after_the_token_beside_the_source(source: Path) -> None:
    done = convert(str(source), "webui")
    assert done.files == [source.parent / "cat.safetensors"]
    assert set(load_file(done.files[0])) == {"emb_params"}


def test_sdxl_of_diffusers_to_webuis_and_back(tmp_path: Path) -> None:
    vectors = {"clip_l": rows(), "clip_g": rows(2, 1280)}
    for name, slot in (("learned_embeds", "clip_l"), ("learned_embeds_2", "clip_g")):
        save_file({"<cat>": vectors[slot]}, tmp_path / f"{name}.safetensors")
    (one,) = convert(str(tmp_path / "learned_embeds.safetensors"), "webui").files
    assert one.name == "cat.safetensors"
    assert set(load_file(one)) == {"clip_l", "clip_g"}
    output = str(tmp_path / "back.safetensors")
    done = convert(str(one), "diffusers", output=output)
    first, second = done.files
    assert not any("name that diffusers gives" in note for note in done.notes)  # it is of the same embedding
    assert (first.name, second.name) == ("back.safetensors", "back_2.safetensors")
    assert torch.equal(load_file(first)["<cat>"], vectors["clip_l"])
    assert torch.equal(load_file(second)["<cat>"], vectors["clip_g"])
    # the second of two files is not lost either
    first.unlink()
    with pytest.raises(BadInput, match=r"back_2\.safetensors exists"):
        convert(str(one), "diffusers", output=output)
    assert not first.exists()
    assert convert(str(one), "diffusers", output=output, overwrite=True).files == [first, second]


def test_nothing_is_written_over(source: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "cat.safetensors", tmp_path / "cat.pt"):
        path.write_text("mine")
        to = "webui" if path.suffix == ".safetensors" else "a1111-pt"
        with pytest.raises(BadInput, match="exists: choose another output, or add overwrite=True"):
            convert(str(source), to)
        assert path.read_text() == "mine"
        assert convert(str(source), to, overwrite=True).files == [path]
        assert torch.equal(read_embedding(path).vectors["clip_l"], rows())


def test_onto_itself(tmp_path: Path) -> None:
    path = tmp_path / "cat.safetensors"
    save_file({"emp_params": rows()}, path)
    convert(str(path), "webui", overwrite=True)
    assert torch.equal(load_file(path)["emb_params"], rows())


def test_picture_of_ones_own(source: Path, tmp_path: Path) -> None:
    photo = Image.new("RGB", (300, 200), (200, 16, 32))
    (path,) = convert(str(source), "png-card", picture=photo).files
    with Image.open(path) as card:
        assert card.getpixel((card.width // 2, 20)) == (200, 16, 32)
    assert torch.equal(read_embedding(path).vectors["clip_l"], rows())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"to": "webiu"}, "to is 'webiu'; choose one of\n  webui       A1111"),
        ({"to": "list"}, "to is 'list'"),
        ({"output": "cat.pt"}, "output is cat.pt, and programs want this format to end in .safetensors"),
        ({"output": "no-such-folder"}, "to end in .safetensors"),
        ({"output": "My Cat.safetensors"}, "output is named 'My Cat'"),
        ({"output": "<cat>.safetensors"}, "leave the brackets out"),
        ({"picture": Image.new("RGB", (8, 8))}, 'picture is drawn on by to="png-card"'),
        ({"token": "My Cat"}, "'<my-cat>' would do"),
    ],
)
def test_refusals(source: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str) -> None:
    monkeypatch.chdir(source.parent)
    with pytest.raises(BadInput) as refusal:
        convert(**{"file": str(source), "to": "webui", **changes})
    assert message in str(refusal.value)
    assert list(source.parent.iterdir()) == [source]


@pytest.mark.parametrize("to", ["kohya", "a1111-pt", "png-card"])
def test_formats_of_one_encoder(tmp_path: Path, to: str) -> None:
    save_file({"clip_l": rows(), "t5": rows(2, 4096)}, tmp_path / "cat.safetensors")
    with pytest.raises(BadInput, match=r"t5xxl 4096 wide \(Flux\).*choose another to"):
        convert(str(tmp_path / "cat.safetensors"), to, output=str(tmp_path / f"out{FORMATS[to].suffix}"))


def test_neighbours_that_are_called_as_further_vectors(source: Path) -> None:
    done = convert(str(source), "webui")
    assert len(done.notes) == 1
    for name in ("cat1.safetensors", "cat_2.safetensors"):
        (source.parent / name).write_bytes(b"")
    (note,) = convert(str(source), "webui", overwrite=True).notes[1:]
    assert note.startswith("cat1.safetensors, cat_2.safetensors")


def test_negative_half(source: Path) -> None:
    write_embedding(Embedding("<x>", {"clip_l": rows()}), source.with_name("Old Cat-neg.pt"), "a1111-pt")
    done = convert(str(source), "webui")
    assert "Old Cat-neg.pt lies beside it and is its negative half" in done.notes[1]
    (negative,) = convert(str(source.with_name("Old Cat-neg.pt")), "webui").files
    assert read_embedding(negative).metadata["modelspec.is_negative_embedding"] == "true"
