"""Lists inside folders; what else a folder may hold is in test_scanning.py and test_hostile.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from tests.three_pictures import CAPTIONS, TEXTS, check, load, rows, write_jsonl
from ti_trainer.config.concept import Concept
from ti_trainer.data.captions import TEMPLATES
from ti_trainer.data.scanning import scan
from ti_trainer.data.sources.folders import find_pictures
from ti_trainer.errors import BadInput


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv"])
def test_metadata_of_a_folder(folder: Path, name: str) -> None:
    if name.endswith("jsonl"):
        write_jsonl(folder / name, rows())
    else:
        lines = ["file_name,text", *(f'{i}.png,"{text}"' for i, text in enumerate(TEXTS))]
        (folder / name).write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8", newline="")
    check(load(folder))


def test_metadata_of_a_subfolder_and_pictures_that_no_list_names(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "1.png").rename(folder / "sub" / "1.png")
    write_jsonl(folder / "sub" / "metadata.jsonl", [{"file_name": "1.png", "text": TEXTS[1]}])
    (folder / "2.caption").write_text(TEXTS[2], encoding="utf-8")
    examples = load(folder)
    assert [example.captions for example in examples] == [TEMPLATES["object"], CAPTIONS[2], CAPTIONS[1]]


def test_names_longer_than_names_of_files(tmp_path: Path) -> None:
    """They lead nowhere, and say so."""
    for images in ("a" * 300, f"{tmp_path}/{'a' * 300}.jsonl", "a/" * 3_000):
        with pytest.raises(BadInput, match="does not exist"):
            find_pictures(images)
    (tmp_path / "x.jsonl").write_text(f'{{"file_name": "{"a" * 300}.png"}}')
    (found,) = find_pictures(str(tmp_path / "x.jsonl")).found
    assert found.mask_file is None
    with pytest.raises(BadInput, match="cannot be read: File name too long"):
        found.picture.read()


def test_pipes_in_a_folder_are_named(tmp_path: Path) -> None:
    """As a list, at once; as a picture, a caption or a mask when they are read."""
    os.mkfifo(tmp_path / "x.jsonl")
    with pytest.raises(BadInput, match=r"x\.jsonl is not a file but a pipe"):
        find_pictures(str(tmp_path / "x.jsonl"))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    for name in ("a.txt", "a.mask.png", "b.png"):
        os.mkfifo(tmp_path / name)
        (problem,) = problems(tmp_path)
        assert problem == f"{tmp_path / name} is not a file but a pipe; give a file"
        (tmp_path / name).unlink()
    os.mkfifo(tmp_path / "metadata.jsonl")
    with pytest.raises(BadInput, match=r"metadata\.jsonl is not a file but a pipe"):
        find_pictures(str(tmp_path))


def problems(folder: Path) -> list[str]:
    result = scan(Concept("<cat>", str(folder)))
    return [*result.bad_pictures, *result.bad_captions]
