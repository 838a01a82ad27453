"""What is said and refused before the first step."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.learning import prepare_all
from tests.running import MakeConfig
from ti_trainer import BadInput
from ti_trainer.data.examples import MaskSource


def test_views_that_miss_the_subject_are_named(
    make_config: MakeConfig, shaped: Path, left_edge: MaskSource, tmp_path: Path
) -> None:
    folder = shutil.copytree(shaped, tmp_path / "masked")
    (folder / "wide.mask.png").write_bytes(left_edge.picture.read())
    notes = {}
    for crop in ("centre", "subject", "random"):
        (session,) = prepare_all([make_config(images=str(folder), crop=crop)])
        notes[crop] = [warning for warning in session.warnings if "its mask" in warning]
    (note,) = notes["centre"]
    assert note.endswith('/wide.png: what is shown of it has nothing of its mask; add crop="subject"')
    assert notes["subject"] == notes["random"] == []


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"crop": "middle"}, "crop is 'middle'"),
        ({"timesteps": "early"}, "timesteps is 'early'"),
        ({"buckets": True, "resolution": 36}, "resolution is 36.*multiple of 8"),
    ],
)
def test_settings_that_are_refused(make_config: MakeConfig, setting: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        prepare_all([make_config(**setting)])
