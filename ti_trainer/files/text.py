"""Reading text files: their encoding, and the rows of JSON lines and CSV."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import BadInput
from .wording import listing, printable


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 with a byte order mark; raises BadInput for files that are neither."""
    try:
        data = path.read_bytes()
        utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
        if "\0" in text:  # UTF-32, or UTF-16 without its mark
            raise ValueError
    except OSError as error:
        raise BadInput(f"{printable(path)} cannot be read: {error.strerror}") from None
    except ValueError:
        raise BadInput(f"{printable(path)} cannot be read as UTF-8 text; save it as UTF-8") from None
    return text


def read_jsonl(file: Path, example: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """For each line that is not blank, its place (for messages) and its JSON object.

    example: how a line should look. Raises BadInput, naming file and line and showing the example, for other lines.
    """
    name = printable(file)
    for number, line in enumerate(read_text(file).split("\n"), 1):  # splitlines cuts at breaks that JSON texts may have
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise BadInput(f"{where} is not JSON such as {example}")
        yield where, row


def read_csv(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """For each row, the place where it ends (for messages) and its cells, by the names in the first line.

    Raises BadInput, naming file and line, for a name that occurs twice and for rows of another length.
    """
    name = printable(file)
    reader = csv.DictReader(io.StringIO(read_text(file), newline=""), strict=True)
    try:
        columns = reader.fieldnames or ()
        twice = [column for column in dict.fromkeys(columns) if column and columns.count(column) > 1]
        if twice:
            raise BadInput(f"{name}, line 1 has more than one column called {listing(twice)}; leave one of them")
        for row in reader:
            where = f"{name}, line {reader.line_num}"
            if None in row or None in row.values():
                raise BadInput(f"{where} has another number of columns than line 1; put texts with commas in quotes")
            yield where, row
    except csv.Error as error:
        line = reader.reader.line_num  # DictReader's own counts only the rows that it has given
        raise BadInput(f"{name}, line {line} is not CSV: {error}") from None
