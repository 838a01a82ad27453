"""Lists of pictures and captions: .jsonl files, and the metadata files of folders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import BadInput
from ...files.text import read_csv, read_jsonl
from ...files.wording import flag, listing, printable

IMAGE_COLUMNS = ("file_name", "image", "image_path", "path", "file")
CAPTION_COLUMNS = ("text", "caption", "captions", "prompt")


@dataclass(frozen=True)
class Columns:
    """The columns that the user named; None stands for the first one with a usual name."""

    image: str | None = None
    caption: str | None = None


ANY_COLUMNS = Columns()
EXAMPLE = '{"file_name": "a.png", "text": "a photo of {token}"}'


@dataclass(frozen=True)
class ListedPicture:
    """A picture that a list names, with the captions of all its lines."""

    path: Path
    name: str  # as it is written in the list
    captions: tuple[str, ...]


def read_list(file: Path, columns: Columns) -> list[ListedPicture]:
    """The pictures of a .jsonl or .csv file, in its order; paths in it are relative to the file's folder.

    Several lines about one picture give it several captions. Raises BadInput, naming file and line, for lines that are
    wrong and for columns that are missing.
    """
    rows = list(read_csv(file) if file.suffix.lower() == ".csv" else read_jsonl(file, EXAMPLE))
    known = list(dict.fromkeys(column for _, row in rows for column in row))
    image = choose_column("image", columns.image, IMAGE_COLUMNS, known, printable(file))
    caption = choose_column("caption", columns.caption, CAPTION_COLUMNS, known, printable(file))
    if rows and image is None:
        raise BadInput(
            f'{printable(file)} has no column of pictures; add "file_name" or {flag("image_column", "NAME")}'
        )
    captions: dict[str, list[str]] = {}
    for where, row in rows:
        name = row.get(str(image))
        if not isinstance(name, str) or not name or "\0" in name:
            raise BadInput(f"{where}: '{printable(str(image))}' holds no name of a file")
        captions.setdefault(name, []).extend(caption_texts(row.get(str(caption)), where))
    return [ListedPicture(file.parent / name, name, tuple(dict.fromkeys(texts))) for name, texts in captions.items()]


def choose_column(kind: str, wanted: str | None, usual: Iterable[str], known: Iterable[str], where: str) -> str | None:
    """The column with the name `wanted`, or else the first with a usual name; None if there is no such column.

    kind: "image" or "caption"; known: all columns; where: for messages. Raises BadInput if `wanted` is missing.
    """
    known = list(known)
    if wanted is not None and wanted not in known:
        names = listing(list(map(printable, known))) or "no columns"
        raise BadInput(f"{flag(f'{kind}_column')} is '{printable(wanted)}', and {where} has {names}")
    return wanted or next((column for column in usual if column in known), None)


def caption_texts(value: Any, where: str) -> tuple[str, ...]:
    """The captions in a cell, which may hold nothing, a text or a list of texts; raises BadInput for anything else."""
    if value is None:
        return ()
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise BadInput(f"{where}: the caption is no text")
    cleaned = tuple(" ".join(text.split()) for text in texts)
    if not all(cleaned):
        raise BadInput(f"{where}: the caption is empty; write one with the token in it, or leave the field out")
    return cleaned
