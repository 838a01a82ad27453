"""Lists inside folders; what else a folder may hold is in test_scanning.py and test_hostile.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.three_pictures import CAPTIONS, TEXTS, check, load, rows, write_jsonl
from ti_trainer.data.captions import TEMPLATES


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
