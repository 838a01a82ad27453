"""What is taken away."""

from __future__ import annotations

from pathlib import Path

import pytest

from ti_trainer import BadInput
from ti_trainer.app.look_tab import needed, shortened


def test_places_of_the_server_are_not_told() -> None:
    files = [Path("/downloads/my-cat.pt")]
    assert shortened("  wrote /downloads/my-cat.pt", files) == "  wrote my-cat.pt"


def test_something_has_to_be_chosen() -> None:
    assert needed("my-cat") == "my-cat"
    for nothing in (None, ""):
        with pytest.raises(BadInput, match="choose a learned word first"):
            needed(nothing)
