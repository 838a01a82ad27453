"""Text in the encodings that people's programs write, and rows in JSON lines and CSV."""

from __future__ import annotations

import codecs
import csv
import io
import json
from pathlib import Path

import pytest

from ti_trainer.errors import BadInput
from ti_trainer.files.reading import LINES
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
    assert read_text(tmp_path / "x.txt", LINES) == TEXT


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
        read_text(tmp_path / "x.txt", LINES)


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"gone\.txt cannot be read: No such file or directory"):
        read_text(tmp_path / "gone.txt", LINES)
    with pytest.raises(BadInput, match="is not a file but a folder"):
        read_text(tmp_path, LINES)


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


def test_rows_and_parts_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before they are made: a list of a few megabytes would be gigabytes of objects."""
    (tmp_path / "x.jsonl").write_text('{"a": [' + "{}," * 1_000_000 + "{}]}")
    with pytest.raises(BadInput, match=r"x\.jsonl has 2,000,004 values and brackets, and at most 2,000,000 are read"):
        next(read_jsonl(tmp_path / "x.jsonl", "EXAMPLE"))
    (tmp_path / "x.csv").write_text("a\n" * 2_000_001)
    with pytest.raises(BadInput, match=r"x\.csv has 2,000,001 values"):
        next(read_csv(tmp_path / "x.csv"))
    monkeypatch.setattr("ti_trainer.files.text.MOST_ROWS", 2)
    (tmp_path / "x.jsonl").write_text("{}\n" * 3)
    (tmp_path / "x.csv").write_text("a\n" * 4)
    for rows in (read_jsonl(tmp_path / "x.jsonl", "EXAMPLE"), read_csv(tmp_path / "x.csv")):
        assert len([next(rows), next(rows)]) == 2
        with pytest.raises(BadInput, match="has more than 2 rows; cut it into several"):
            next(rows)


def test_many_columns_are_compared_at_once(tmp_path: Path) -> None:
    """Each with all others would take an hour."""
    names = [f"c{number}" for number in range(200_000)]
    (tmp_path / "x.csv").write_text(f"{','.join(names)}\n{','.join(names)}\n")
    ((_, row),) = read_csv(tmp_path / "x.csv")
    assert row == dict(zip(names, names, strict=True))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"a": 1, "b": 2, "a": 3}', "line 1 has 'a' twice; leave one of them"),
        ('{"a": {"b": 1, "b": 1}}', "line 1 has 'b' twice"),
        (f'{{"{"k" * 500}": 1, "{"k" * 500}": 2}}', "line 1 has 'kkkkkkkkkkkk...kkkkkkkkkkkkk' twice"),
        ('{"a": ' + "9" * 4_000 + "}", "line 1 has a number of 4,000 digits; write a smaller one"),
        ('{"a": -' + "9" * 5_000 + "}", "line 1 has a number of 5,001 digits"),
    ],
)
def test_json_that_says_two_things_or_too_much(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "x.jsonl").write_text(line)
    with pytest.raises(BadInput, match=rf"x\.jsonl, {message}"):
        next(read_jsonl(tmp_path / "x.jsonl", "EXAMPLE"))


def test_names_of_columns_are_short(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a" * 201 + ",b\n1,2\n")
    with pytest.raises(BadInput, match="line 1 has a column whose name is longer than 200 letters"):
        next(read_csv(tmp_path / "x.csv"))
