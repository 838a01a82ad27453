"""`convert` on the command line; what it writes is tested with embedding_files/."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from ti_trainer.cli import build_parser, main
from ti_trainer.embedding_files import FORMATS, read_embedding

WRITTEN = [name for name, row in FORMATS.items() if row.pack]


def rows() -> torch.Tensor:
    return torch.randn(2, 768, generator=torch.Generator().manual_seed(768))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A pickle of A1111."""
    content = {"string_to_token": {"*": 265}, "string_to_param": {"*": rows()}, "name": "cat", "step": 70}
    torch.save({**content, "sd_checkpoint": "a1b2", "sd_checkpoint_name": "sd"}, tmp_path / "Old Cat.pt")
    return tmp_path / "Old Cat.pt"


@pytest.mark.parametrize("to", WRITTEN)
def test_every_format_from_a_pickle(source: Path, tmp_path: Path, to: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    assert main(["convert", str(source), "--to", to, "--output", str(folder), "--token", "<my-cat>"]) == 0
    path = folder / f"my-cat{FORMATS[to].suffix}"
    assert list(folder.iterdir()) == [path]
    out = capsys.readouterr().out
    assert "<my-cat> (2 vectors, for SD 1.x or Flux)" in out
    assert f"wrote {path}" in out
    assert FORMATS[to].usage.format(stem="my-cat", token="<my-cat>", prompt="prompt") in out
    found = read_embedding(path)
    assert found.token == "<my-cat>"
    assert torch.equal(found.vectors["clip_l"], rows())
    told = {"step": "70", "base_model_hash": "a1b2", "base_model": "sd"}
    assert {f"ti_trainer.{key}": value for key, value in told.items()}.items() <= found.metadata.items()


def test_help_names_the_formats() -> None:
    _, parser = build_parser("convert")
    assert parser is not None
    text = parser.format_help()
    assert all(name in text for name in WRITTEN)


def test_picture_of_ones_own(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["convert", str(source), "--to", "png-card", "--picture", str(tmp_path / "photo.png")]
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"error: --picture {tmp_path / 'photo.png'} is not a file\n"
    Image.new("RGB", (300, 200), (200, 16, 32)).save(tmp_path / "photo.png")
    assert main([*arguments, "--output", str(tmp_path / "card.png")]) == 0
    with Image.open(tmp_path / "card.png") as card:
        assert card.getpixel((card.width // 2, 20)) == (200, 16, 32)
