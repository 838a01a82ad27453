"""Which pictures get a caption file, and where."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import pytest

from tests.three_pictures import encoded
from ti_trainer import BadInput, Concept
from ti_trainer.data.scanning import load_examples
from ti_trainer.data.sidecars import Sidecars, find_sidecars, write_sidecar


def draw(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded("red"))


def look(folder: Path, **settings: str) -> Sidecars:
    return find_sidecars([str(folder)], Concept("<cat>", str(folder), **settings))


def names(found: Sidecars, folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in found.missing]


def test_pictures_without_a_caption(tmp_path: Path) -> None:
    """Subfolders too; masks, hidden files and pictures with a caption of either kind get none."""
    draw(*(tmp_path / name for name in ("b.png", "a.b.JPG", "c.png", "d.png", "10_cat/e f.webp", ".x.png")))
    draw(tmp_path / "b.mask.png")
    (tmp_path / "c.txt").write_text("a {token}", encoding="utf-8")
    (tmp_path / "d.caption").write_text("", encoding="utf-8")
    found = look(tmp_path)
    assert names(found, tmp_path) == ["a.b.txt", "b.txt", "10_cat/e f.txt"]
    assert found.present == [str(tmp_path / "c.txt"), str(tmp_path / "d.caption")]
    assert [each.place.name for each in found.missing.values()] == ["a.b.JPG", "b.png", "e f.webp"]


def test_what_is_written_is_what_training_reads(tmp_path: Path) -> None:
    """Odd names, links to pictures and to folders: training finds each caption, and then none is missing."""
    accents = unicodedata.normalize("NFD", "caf\u00e9")
    draw(*(tmp_path / "in" / name for name in (f"{accents}.png", "a.b.png", "b..png", "line\nbreak.png")))
    draw(tmp_path / "other" / "x.png", tmp_path / "single.png")
    os.symlink(tmp_path / "other", tmp_path / "in" / "link")
    os.symlink(tmp_path / "single.png", tmp_path / "in" / "y.png")
    folder = tmp_path / "in"
    found = look(folder)
    assert len(found.missing) == 6
    for number, path in enumerate(found.missing):
        assert write_sidecar(path, f"<cat> {number}")
    examples, _ = load_examples(Concept("<cat>", str(folder)), False)
    assert [example.captions for example in examples] == [(f"{{token}} {number}",) for number in range(6)]
    assert not look(folder).missing
    assert not (tmp_path / "single.txt").exists()


def test_two_pictures_of_one_name_share_a_caption(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", tmp_path / "a.jpg", tmp_path / "b.png")
    assert names(look(tmp_path), tmp_path) == ["a.txt", "b.txt"]


def test_captions_in_a_metadata_file(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", tmp_path / "b.png")
    (tmp_path / "metadata.jsonl").write_text(json.dumps({"file_name": "a.png", "text": "a {token}"}), encoding="utf-8")
    found = look(tmp_path)
    assert names(found, tmp_path) == ["b.txt"]
    assert found.present == [str(tmp_path / "a.png")]


def test_a_folder_of_masks_within(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", tmp_path / "masks" / "a.png")
    assert names(look(tmp_path, masks=str(tmp_path / "masks")), tmp_path) == ["a.txt"]


def test_a_link_that_leads_nowhere_is_a_file(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    os.symlink(tmp_path / "gone", tmp_path / "a.txt")
    assert not look(tmp_path).missing
    assert not write_sidecar(tmp_path / "a.txt", "x")
    assert not (tmp_path / "gone").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    assert write_sidecar(path, "<cat> in a caf\u00e9")
    assert path.read_bytes() == "<cat> in a caf\u00e9\n".encode()
    assert not write_sidecar(path, "other")
    assert path.read_bytes() == "<cat> in a caf\u00e9\n".encode()
    assert os.listdir(tmp_path) == ["a.txt"]


def test_what_is_refused(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    listed = tmp_path / "list.jsonl"
    listed.write_text(json.dumps({"file_name": "a.png", "text": "a {token}"}), encoding="utf-8")
    with pytest.raises(BadInput, match=r'images=".*list.jsonl" is no folder of picture files'):
        look(listed)
    with pytest.raises(BadInput, match="does not exist"):
        look(tmp_path / "gone")
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadInput, match="holds no pictures"):
        look(tmp_path / "folder")
    with pytest.raises(BadInput, match=r"b\.txt cannot be written: "):
        write_sidecar(tmp_path / "a.png" / "b.txt", "x")
