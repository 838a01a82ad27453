"""What notebooks show of a run, as HTML that holds its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from ..runs.files import RunFiles
from .inline_pictures import file_uri

WIDTH = 720  # pixels, of each picture at most


def run_as_html(lines: Sequence[str], folder: Path) -> str:
    """Lines of text, and under them the pictures that lie in the folder of a run: before and after, and the curves."""
    files = RunFiles(folder, "")
    pictures = [file.read_bytes() for file in (files.before_after, files.loss_plot) if file.is_file()]
    return as_html(lines, pictures)


def as_html(lines: Sequence[str], pictures: Sequence[bytes]) -> str:
    """Lines of text, and under them PNG pictures."""
    text = "<br>".join(map(escape, lines))
    shown = "".join(f'<img src="{file_uri(each, "png")}" style="max-width:{WIDTH}px; width:100%">' for each in pictures)
    return f"<div><p>{text}</p>{shown}</div>"
