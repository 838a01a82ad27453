"""Lists of concepts: a file with the settings of each, as YAML, JSON lines, CSV or parquet."""

from __future__ import annotations

import datetime
import json
import re
import reprlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import BadInput
from ..files.text import try_csv, try_jsonl
from ..files.wording import flag, listing, printable
from ..files.yaml_text import read_yaml_file
from .fields import KINDS
from .settings import settings_of_run

EXAMPLE = '{"token": "<my-cat>", "images": "photos/my-cat"}'

# the types that cells are given, by setting; a setting that is none is text here, and refused where all are
TYPES: dict[str, type] = {name: setting.type for name, setting in settings_of_run().items()}


MOST_KEPT = 16_384  # letters, as JSON, of what a row has beside settings


@dataclass(frozen=True)
class Row:
    """One concept of a list: what it sets, or why it cannot be told."""

    where: str  # for messages
    settings: Mapping[str, Any]
    problem: BadInput | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)  # what is no setting, as JSON has it


def read_concepts(path: str) -> list[Row]:
    """The concepts in a .yaml, .jsonl, .csv or .parquet file, in its order.

    What is null, NaN or, in CSV, empty is not given. Cells of CSV get the type of their setting. Raises BadInput for a
    file that cannot be read or lists nothing. A row that is no row, or is without a token, or has a cell of the wrong
    type, is a Row with a problem that names the line (or the row, from 0 as in pandas).
    """
    file = Path(path)
    name = printable(path)
    read = READERS.get(file.suffix.lower())
    if read is None:
        raise BadInput(f"{name} is no list of concepts; give a {', '.join(READERS)} file")
    if not file.exists():
        raise BadInput(f"{name} does not exist; give a file with a concept in each line, such as {EXAMPLE}")
    if not file.is_file():
        raise BadInput(f"{name} is not a file; give a {', '.join(READERS)} file")
    rows = [row_of(content, where) for where, content in read(file)]
    if not rows:
        raise BadInput(f"{name} lists no concepts; write lines such as {EXAMPLE}")
    return rows


def row_of(content: Any, where: str) -> Row:
    """What a list holds at a place, checked as far as it can be without the others."""
    columns: dict[str, Any] = {}
    try:
        if isinstance(content, BadInput):
            raise content
        if isinstance(content, dict):
            columns = others_than_settings(content, where)
        return Row(where, given(content, where), None, columns)
    except BadInput as problem:
        return Row(where, token_in(content), problem, columns)


def token_in(content: Any) -> dict[str, str]:
    """The token of a row that cannot be used, as a setting, if it has one that is text."""
    token = content.get("token") if isinstance(content, dict) else None
    token = token.text if isinstance(token, Cell) else token
    return {"token": token} if isinstance(token, str) and token else {}


def others_than_settings(row: Mapping[Any, Any], where: str) -> dict[str, Any]:
    """What a row has that is no setting, such as a customer; raises BadInput for what JSON cannot hold, or too much."""
    found = {key: value for key, value in row.items() if isinstance(key, str) and key not in TYPES}
    kept = {key: plain(value) for key, value in found.items()}
    kept = {key: value for key, value in kept.items() if value is not None and value == value}
    try:
        size = len(json.dumps(kept, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        names = listing([printable(key) for key in kept])
        raise BadInput(f"{where}: {names} cannot be kept, because not all of it is text or numbers") from None
    if size > MOST_KEPT:
        raise BadInput(f"{where} has {size:,} letters that are no settings, and at most {MOST_KEPT:,} are kept")
    return kept


def plain(value: Any) -> Any:
    """A value that is no setting as it is kept: dates as text, empty cells as None."""
    if isinstance(value, Cell):
        return value.text.strip() or None
    return value.isoformat() if isinstance(value, (datetime.date, datetime.time)) else value


def given(row: Any, where: str) -> dict[str, Any]:
    """The settings that a row gives; raises BadInput when it is no mapping or has no token."""
    if not isinstance(row, dict):
        raise BadInput(f"{where} is no mapping; write '- token: <my-cat>'")
    settings = {}
    for key, value in row.items():
        if not isinstance(key, str):
            raise BadInput(f"{where}: {reprlib.repr(key)} is not the name of a setting; names are text, such as token")
        if key not in TYPES:
            continue
        if isinstance(value, Cell):
            value = value.read(key, where)
        if value is None or value != value:  # NaN is what pandas makes of an empty cell
            continue
        if isinstance(value, float) and TYPES.get(key) is int and value.is_integer():
            value = int(value)  # pandas, again: a column of whole numbers with an empty cell is one of floats
        settings[key] = value
    token = settings.get("token")
    if token is None or token == "":
        raise BadInput(f'{where} has no token; give each concept one, such as "<my-cat>"')
    if not isinstance(token, str):
        raise BadInput(f"{where}: the token is {reprlib.repr(token)}, which is not text; put it in quotes")
    return settings


def yaml_rows(file: Path) -> Iterator[tuple[str, Any]]:
    name = printable(file)
    content = read_yaml_file(file, name)
    if isinstance(content, dict):
        others = [str(key) for key in content if key != "concepts"]
        if "concepts" not in content or others:
            raise BadInput(
                f"{name} has {listing(others) or 'no keys'} at the top, where only 'concepts' may be: settings of "
                f"all concepts belong into {flag('config')}"
            )
        content = content["concepts"]
    if content is None:
        return
    if not isinstance(content, list):
        raise BadInput(f"{name} is {reprlib.repr(content)}, which is not a list: write '- token: <my-cat>' beneath it")
    for number, row in enumerate(content, 1):
        yield f"{name}, concept {number}", row


def jsonl_rows(file: Path) -> Iterator[tuple[str, Any]]:
    return try_jsonl(file, EXAMPLE)


def csv_rows(file: Path) -> Iterator[tuple[str, Any]]:
    for where, row in try_csv(file):
        if isinstance(row, BadInput):
            yield where, row
            continue
        if not any(cell.strip() for cell in row.values()):  # the empty rows that spreadsheets add
            continue
        if "token" not in row:
            raise BadInput(
                f"{printable(file)} has the columns {reprlib.repr(listing(list(row)))}; it needs one called token, and "
                "commas between them"
            )
        if "" in row:
            raise BadInput(f"{printable(file)} has a column without a name; leave it out (in pandas: index=False)")
        yield where, {key: Cell(cell) for key, cell in row.items()}


@dataclass(frozen=True)
class Cell:
    """A cell of CSV, which has no types."""

    text: str

    def read(self, key: str, where: str) -> Any:
        """The cell as the type of its setting; None where it is empty. Raises BadInput when it cannot be that."""
        wanted = TYPES.get(key, str)
        if not self.text.strip():
            return None
        try:
            if wanted is bool:
                return {"true": True, "false": False}[self.text.strip().lower()]
            if wanted is int:
                number = float(self.text)
                return int(number) if number.is_integer() and "." in self.text else int(self.text)
            return wanted(self.text)
        except (ValueError, KeyError):
            raise BadInput(f"{where}: {key} is {reprlib.repr(self.text)}; write {KINDS[wanted]}, or nothing") from None


def record_name(where: str) -> str:
    """The name under which a row that is refused is on record; no run can have it: "orders.jsonl,7"."""
    path, _, place = where.rpartition(", ")
    return f"{recordable(path)},{place.rpartition(' ')[2]}"


def recordable(path: str | Path) -> str:
    """The name of a list as a part of the name of a file."""
    return re.sub(r"[^\w.-]", "_", Path(path).name)[-100:]


def parquet_rows(file: Path) -> Iterator[tuple[str, Any]]:
    from pyarrow.parquet import ParquetFile

    name = printable(file)
    try:
        with ParquetFile(file) as table:
            columns = table.schema_arrow.names
            usable = "token" in columns and len(set(columns)) == len(columns)
            # columns first: gigabytes of pictures, say, are not read before the message that there is no token
            rows = [row for batch in table.iter_batches() for row in batch.to_pylist()] if usable else []
    except Exception as error:  # pyarrow's, of any kind
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadInput(f"{name} cannot be read as parquet: {reason}") from None
    if not usable:
        raise BadInput(f"{name} has the columns {listing(columns)}; it needs one called token, and no name twice")
    for number, row in enumerate(rows):
        yield f"{name}, row {number}", row


READERS: dict[str, Callable[[Path], Iterator[tuple[str, Any]]]] = {
    ".yaml": yaml_rows,
    ".yml": yaml_rows,
    ".jsonl": jsonl_rows,
    ".csv": csv_rows,
    ".parquet": parquet_rows,
}
