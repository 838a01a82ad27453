"""Names in messages: on one line, and not two thousand of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

MOST_NAMES = 5
MOST_LINES = 10


def printable(path: Path | str) -> str:
    """A file's name on one line: line breaks and bytes that are no text are written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(path))


def listing(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def shorten(lines: Sequence[str]) -> list[str]:
    """The first lines, and how many more there are."""
    more = len(lines) - MOST_LINES
    return [
        *lines[:MOST_LINES],
        *([f"... and {more} more like this; ti-trainer dataset lists all"] if more > 0 else []),
    ]
