from __future__ import annotations

from pathlib import Path

import pytest

from tests.three_pictures import check, load, rows, write_jsonl
from ti_trainer.data.captions import TEMPLATES
from ti_trainer.errors import BadInput


@pytest.mark.parametrize(("image", "text"), [("file_name", "text"), ("image", "caption"), ("path", "prompt")])
def test_jsonl(folder: Path, image: str, text: str) -> None:
    check(load(write_jsonl(folder / "list.jsonl", rows(image, text))))


def test_jsonl_with_other_columns(folder: Path) -> None:
    lines = [{**row, "text": "not this"} for row in rows("bild", "titel")]
    file = write_jsonl(folder / "list.jsonl", lines)
    check(load(file, image_column="bild", caption_column="titel"))
    with pytest.raises(BadInput, match=r"image_column is 'picture', and .*list\.jsonl has bild, titel, text"):
        load(file, image_column="picture")


def test_jsonl_of_several_captions(folder: Path) -> None:
    """In one line or in several; a picture without any gets templates; only listed pictures count."""
    lines = [
        {"file_name": "0.png", "text": ["a {token}", "one {token}"]},
        {"file_name": "1.png"},
        {"file_name": "0.png", "text": "two\u2028{token}"},
    ]
    examples = load(write_jsonl(folder / "list.jsonl", lines))
    assert [example.captions for example in examples] == [
        ("a {token}", "one {token}", "two {token}"),
        TEMPLATES["object"],
    ]


def test_jsonl_elsewhere(folder: Path) -> None:
    """Paths are those of the list's folder, or absolute; a picture that is not there is named."""
    (folder / "lists").mkdir()
    lines = [{"file_name": "../0.png"}, {"file_name": str(folder / "1.png")}]
    assert [e.size for e in load(write_jsonl(folder / "lists" / "list.jsonl", lines))] == [(6, 4)] * 2
    with pytest.raises(BadInput, match=r"lost\.png cannot be read: No such file"):
        load(write_jsonl(folder / "list.jsonl", [{"file_name": "lost.png"}]))
