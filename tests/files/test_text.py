"""Text in the encodings that people's programs write, and rows in JSON lines and CSV."""

from __future__ import annotations

import codecs
import csv
import io
import json
from pathlib import Path

import pytest

from ti_trainer.errors import BadInput
from ti_trainer.files.text import read_csv, read_jsonl, read_text

TEXT = "a photo of Mäuse 猫\r\n🐈 line two"


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
    ],
)
def test_encodings_that_say_what_they_are(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.txt").write_bytes(data)
    assert read_text(tmp_path / "x.txt") == TEXT


@pytest.mark.parametrize(
    "data",
    [
        "Mäuse".encode("latin-1"),
        "cat".encode("utf-16-le"),  # without its mark
        codecs.BOM_UTF32_LE + "cat".encode("utf-32-le"),
        codecs.BOM_UTF16_LE + b"\x00",
    ],
)
def test_encodings_that_do_not(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.txt").write_bytes(data)
    with pytest.raises(BadInput, match=r"x\.txt cannot be read as UTF-8 text; save it as UTF-8"):
        read_text(tmp_path / "x.txt")


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"gone\.txt cannot be read: No such file or directory"):
        read_text(tmp_path / "gone.txt")
    with pytest.raises(BadInput, match="cannot be read: Is a directory"):
        read_text(tmp_path)


def test_jsonl(tmp_path: Path) -> None:
    """Each line with its number, blank ones counted; rarer line breaks belong to a text."""
    rows = [{"text": "one\u2028two\x85three"}, {"text": "ä", "number": 1.5}]
    first, second = (json.dumps(row, ensure_ascii=False) for row in rows)
    (tmp_path / "x.jsonl").write_text(f"{first}\n\n  \n{second}\n", encoding="utf-8")
    found = list(read_jsonl(tmp_path / "x.jsonl", "EXAMPLE"))
    assert [row for _, row in found] == rows
    assert [where for where, _ in found] == [f"{tmp_path}/x.jsonl, line 1", f"{tmp_path}/x.jsonl, line 4"]


@pytest.mark.parametrize("line", ["{", "[1]", "7", "null", "{'a': 1}", "[" * 100_000])
def test_jsonl_that_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "x.jsonl").write_text('{"a": 1}\n' + line)
    rows = read_jsonl(tmp_path / "x.jsonl", "EXAMPLE")
    assert next(rows)[1] == {"a": 1}
    with pytest.raises(BadInput, match=r"x\.jsonl, line 2 is not JSON such as EXAMPLE$"):
        next(rows)


def test_csv_is_what_pythons_writer_wrote(tmp_path: Path) -> None:
    """Commas, quotes and line breaks in cells; a row is named by the line where it ends."""
    rows = [{"file": "a, b.png", "text": 'the "cat"'}, {"file": "", "text": "two\r\nlines"}, {"file": "c", "text": "ä"}]
    written = io.StringIO(newline="")
    writer = csv.DictWriter(written, ["file", "text"])
    writer.writeheader()
    writer.writerows(rows)
    (tmp_path / "x.csv").write_bytes(codecs.BOM_UTF8 + written.getvalue().encode())
    found = list(read_csv(tmp_path / "x.csv"))
    assert [row for _, row in found] == rows
    assert [where.rpartition(" ")[2] for where, _ in found] == ["2", "4", "5"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b,a\n1,2,3\n", "line 1 has more than one column called a; leave one of them"),
        ("a,b\n1,2\n1,2,3\n", "line 3 has another number of columns than line 1; put texts with commas in quotes"),
        ("a,b\n1\n", "line 2 has another number of columns than line 1"),
        ('a,b\n1,"2', "line 2 is not CSV: unexpected end of data"),
        ('a,b\n1,"2"3\n', "line 2 is not CSV"),
    ],
)
def test_csv_that_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(BadInput, match=rf"x\.csv, {message}"):
        list(read_csv(tmp_path / "x.csv"))


def test_csv_without_rows(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("")
    assert list(read_csv(tmp_path / "x.csv")) == []
    (tmp_path / "x.csv").write_text("a,b\n")
    assert list(read_csv(tmp_path / "x.csv")) == []
