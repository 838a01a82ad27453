"""The display of a notebook, without one: what it is given, and how often."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.running import MakeConfig, MakeTwo
from ti_trainer import LiveDisplay, train, train_all

IPython = pytest.importorskip("IPython.display")


class Cell:
    """Stands where the notebook is."""

    def __init__(self) -> None:
        self.outputs: list[list[str]] = []  # of each display, all that it has shown

    def display(self, content: Any, display_id: bool) -> Any:
        assert display_id
        shown = [content.data]
        self.outputs.append(shown)

        class Handle:
            def update(self, content: Any) -> None:
                shown.append(content.data)

        return Handle()


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    cell = Cell()
    monkeypatch.setattr(IPython, "display", cell.display)
    return cell


def pictures(shown: str) -> list[bytes]:
    return [base64.b64decode(each) for each in re.findall(r'base64,([^"]+)"', shown)]


def test_curves_and_previews_in_one_place(make_config: MakeConfig, cell: Cell) -> None:
    """Each picture takes the place of the one before; the last one has the newest previews."""
    run = train(
        make_config(steps=4, validate_every=2, preview_every=2, preview_steps=2, plots=True), [LiveDisplay(pause=0)]
    )
    (shown,) = cell.outputs
    assert len(shown) >= 2
    curves, previews = pictures(shown[-1])
    assert Image.open(io.BytesIO(curves)).size == (1000, 700)
    with Image.open(io.BytesIO(previews)) as shown_sheet, Image.open(Path(run.folder) / "previews.png") as sheet:
        assert shown_sheet.width == sheet.width
    assert "my-cat: step 4, loss" in shown[-1]


def test_it_is_drawn_seldom(make_config: MakeConfig, cell: Cell) -> None:
    train(make_config(steps=6), [LiveDisplay(pause=1000)])
    assert [len(shown) for shown in cell.outputs] == [2]  # the first and the last


def test_runs_have_places_of_their_own(make_two: MakeTwo, cell: Cell) -> None:
    train_all(make_two(steps=2), [LiveDisplay(pause=0)])
    assert [shown[-1].partition(":")[0].rpartition(">")[2] for shown in cell.outputs] == ["my-cat", "my-dog"]
