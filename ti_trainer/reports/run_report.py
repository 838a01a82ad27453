"""report.html: all there is to see of a run, in one file that needs nothing but a browser.

The templates are jinja2's, and escape all text: names and captions are strangers'. Curves are inline SVG of some
kilobytes each; plotly's offline bundle would add more than four megabytes to every run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from .charts import BOTTOM, HEIGHT, LEFT, RIGHT, WIDTH, charts_of
from .curves import Curves
from .inline_pictures import data_uri

SHEET = 1200  # pixels, of the sheet of an evaluation
# The place of an evaluation in the page: text of others is escaped, so nobody else can write these.
EVALUATION = re.compile(r"<!-- evaluation -->.*<!-- end of evaluation -->", re.DOTALL)


@dataclass(frozen=True)
class Reference:
    """One picture that a run learns from."""

    name: str
    picture: str  # data URI
    about: str  # its size, and how it is shown
    captions: Sequence[str]


@dataclass(frozen=True)
class PreviewRow:
    """What the rows of a step draw."""

    step: int
    is_saved: bool
    pictures: Sequence[str]  # data URIs, one for each column


@dataclass(frozen=True)
class NearWords:
    """The words to which a row is nearest."""

    row: str
    words: Sequence[tuple[str, float]]  # with their cosines


@dataclass(frozen=True)
class RunReport:
    """What the page of one run shows."""

    token: str
    model: str
    state: str  # "learning", "finished", "stopped" or "diverged"
    step: int
    steps: int
    best_step: int
    summary: str  # of the pictures, in a line
    references: Sequence[Reference]
    columns: Sequence[str]  # what previews show
    previews: Sequence[PreviewRow]
    curves: Curves
    near: Sequence[NearWords]
    notes: Sequence[str]
    settings: Sequence[tuple[str, str, str]]  # name, value and default of those that are not the default
    figures: Sequence[tuple[str, str]]  # time and memory
    uses: Sequence[tuple[str, str]]  # program, and what to do there


@dataclass(frozen=True)
class IndexEntry:
    """One of the concepts of a job."""

    name: str
    token: str
    state: str  # "finished", "learning" or "failed"
    about: str
    has_folder: bool  # whether its folder has a report and pictures


@cache
def environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals.update(width=WIDTH, height=HEIGHT, left=LEFT, right=WIDTH - RIGHT, bottom=HEIGHT - BOTTOM)
    return found


def render_run(report: RunReport) -> str:
    """The page of a run, as HTML."""
    return environment().get_template("run.html").render(run=report, charts=charts_of(report.curves), evaluation=None)


def render_index(title: str, entries: Sequence[IndexEntry]) -> str:
    """The page over the runs of a job, as HTML; its links lead into their folders."""
    return environment().get_template("index.html").render(title=title, entries=entries)


def with_evaluation(page: str, figures: Mapping[str, Any], sheet: Image.Image) -> str:
    """The page of a run with the figures of `evaluation_report.figures_of` and the pictures that were measured."""
    part = environment().get_template("evaluation.html").render(evaluation=figures, sheet=data_uri(sheet, SHEET))
    return EVALUATION.sub(lambda match: part, page)
