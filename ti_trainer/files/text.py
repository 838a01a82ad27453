"""Reading text files: their encoding, and the rows of JSON lines and CSV."""

from __future__ import annotations

import codecs
import csv
import io
import json
import reprlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ..errors import BadInput
from .reading import LIST, Kind, read
from .wording import listing, printable

Row = TypeVar("Row", bound=Mapping[str, Any])

MOST_ROWS = 100_000  # of a list: each takes some hundred bytes of memory even if it is empty
MOST_PARTS = 2_000_000  # commas, colons, brackets and lines of a list: of each becomes an object when it is parsed
LONGEST_NUMBER = 100  # letters: numbers of thousands of digits take long to read, and nothing here has more than 20
LONGEST_NAME = 200  # letters of a column's name


def read_text(path: Path, kind: Kind, name: str = "") -> str:
    """The text of a file in UTF-8, or in UTF-16 with a byte order mark; raises BadInput for files that are neither.

    name: what messages call the file. Raises BadInput also where `read` does.
    """
    data = read(path, kind, name)
    try:
        utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
        if "\0" in text:  # UTF-32, or UTF-16 without its mark
            raise ValueError
    except ValueError:
        raise BadInput(f"{name or printable(path)} cannot be read as UTF-8 text; save it as UTF-8") from None
    return text


def read_jsonl(file: Path, example: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """For each line that is not blank, its place (for messages) and its JSON object; raises the first problem."""
    return without_problems(try_jsonl(file, example))


def try_jsonl(file: Path, example: str) -> Iterator[tuple[str, dict[str, Any] | BadInput]]:
    """For each line that is not blank, its place (for messages), and its JSON object or what is wrong with it.

    example: how a line should look; problems name file and line and show it. Raises BadInput for lists of more than
    MOST_ROWS rows or MOST_PARTS parts.
    """
    name = printable(file)
    text = read_text(file, LIST)
    check_parts(text, ",:[{\n", name)
    rows = 0
    for number, line in enumerate(text.split("\n"), 1):  # splitlines cuts at breaks that JSON texts may have
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        rows += 1
        check_rows(rows, name)
        try:
            row = json_object(line, where)
        except BadInput as problem:
            yield where, problem
            continue
        yield where, BadInput(f"{where} is not JSON such as {example}") if row is None else row


def without_problems(rows: Iterator[tuple[str, Row | BadInput]]) -> Iterator[tuple[str, Row]]:
    """The rows; raises the first problem among them."""
    for where, row in rows:
        if isinstance(row, BadInput):
            raise row
        yield where, row


def json_object(text: str, where: str) -> dict[str, Any] | None:
    """A JSON object, or None for a text that is none.

    Raises BadInput, naming the place `where`, for an object with the same key twice, and for numbers that are too long.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(pairs)
        if len(mapping) < len(pairs):
            twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
            raise BadInput(f"{where} has {reprlib.repr(twice[0])} twice; leave one of them")
        return mapping

    def whole(digits: str) -> int:
        if len(digits) > LONGEST_NUMBER:
            raise BadInput(f"{where} has a number of {len(digits):,} digits; write a smaller one")
        return int(digits)

    try:
        found = json.loads(text, object_pairs_hook=once, parse_int=whole)
    except BadInput:
        raise
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def read_csv(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """For each row, the place where it ends (for messages) and its cells, by the names in the first line.

    Raises the first problem of a row, and BadInput as `try_csv` does.
    """
    return without_problems(try_csv(file))


def try_csv(file: Path) -> Iterator[tuple[str, dict[str, str] | BadInput]]:
    """For each row, the place where it ends (for messages), and its cells by the names in the first line.

    In place of a row of another length than the first there is the problem. Raises BadInput, naming file and line, for
    a name that is too long or occurs twice, and for tables of more than MOST_ROWS rows or MOST_PARTS parts.
    """
    name = printable(file)
    text = read_text(file, LIST)
    check_parts(text, ",\n\r", name)
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = reader.fieldnames or ()
        if any(len(column) > LONGEST_NAME for column in columns):
            raise BadInput(f"{name}, line 1 has a column whose name is longer than {LONGEST_NAME} letters; shorten it")
        twice = [printable(column) for column, count in Counter(columns).items() if column and count > 1]
        if twice:
            raise BadInput(f"{name}, line 1 has more than one column called {listing(twice)}; leave one of them")
        for rows, row in enumerate(reader, 1):
            check_rows(rows, name)
            where = f"{name}, line {reader.line_num}"
            other = BadInput(f"{where} has another number of columns than line 1; put texts with commas in quotes")
            yield where, other if None in row or None in row.values() else row
    except csv.Error as error:
        line = reader.reader.line_num  # DictReader's own counts only the rows that it has given
        raise BadInput(f"{name}, line {line} is not CSV: {error}") from None


def check_parts(text: str, marks: str, name: str) -> None:
    """Raises BadInput for a list with too many of the marks that part its rows and values; name: of its file."""
    parts = sum(map(text.count, marks))
    if parts > MOST_PARTS:
        raise BadInput(f"{name} has {parts:,} values and brackets, and at most {MOST_PARTS:,} are read; cut it up")


def check_rows(count: int, name: str) -> None:
    """Raises BadInput for a list of too many rows; name: of its file."""
    if count > MOST_ROWS:
        raise BadInput(f"{name} has more than {MOST_ROWS:,} rows; cut it into several")
