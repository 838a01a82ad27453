"""The page as a whole."""

from __future__ import annotations

from typing import Any, cast

import pytest

from ti_trainer.app.page import build


@pytest.mark.usefixtures("blocks")
def test_it_is_built_without_a_studio() -> None:
    """Nothing of it is asked for before somebody looks; every component that a test or a script names is there."""

    class Asleep:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

    page = build(cast(Any, Asleep()))
    names = {block.elem_id for block in page.blocks.values() if getattr(block, "elem_id", None)}
    assert {"pictures", "token", "model", "quality", "train", "stop", "runs", "learned", "draw", "files"} <= names
    assert len([name for name in names if name.startswith("setting-")]) > 40
    labelled = [block for block in page.blocks.values() if isinstance(getattr(block, "label", None), str)]
    assert all(block.label for block in labelled if getattr(block, "interactive", False))
    assert page.title == "ti_trainer"
