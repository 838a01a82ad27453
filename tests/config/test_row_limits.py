"""Limits of what a row may ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ti_trainer.config.concept import Bounds
from ti_trainer.config.concept_lists import Row
from ti_trainer.config.row_limits import SETTINGS, RowLimits
from ti_trainer.config.rows import Owner, configs_of_rows
from ti_trainer.config.together import Together
from ti_trainer.errors import BadInput, Refused
from ti_trainer.files.reach import Reach

LIMITS = ["pictures=40", "pixels=5e7", "steps=500", "num_vectors=8", "lr=0.2"]


def problem_of(row: dict[str, Any], folder: Path, **flags: Any) -> Exception | None:
    owner = Owner({"model": "tiny-sd", "steps": 900}, flags, folder, Reach.within([folder]), RowLimits.parse(LIMITS))
    configs, refused = configs_of_rows([Row("a.jsonl, line 1", {"token": "<a>", **row})], owner, Together())
    assert len(configs) + len(refused) == 1
    for config in configs:
        assert config.concept.bounds == Bounds(pictures=40, pixels=50_000_000, vectors=8)
    return refused[0].problem if refused else None


def test_a_row_over_a_limit(tmp_path: Path) -> None:
    for row, said in (
        ({"steps": 501}, "steps is 501, and a row of a list may ask for 500 at most"),
        ({"num_vectors": 9}, "num_vectors is 9, and a row of a list may ask for 8 at most"),
        ({"lr": "0.3"}, "lr is 0.3, and a row of a list may ask for 0.2 at most"),
    ):
        problem = problem_of(row, tmp_path)
        assert isinstance(problem, Refused)
        assert str(problem) == said


def test_what_is_not_the_row_s_is_not_limited(tmp_path: Path) -> None:
    """The config's 900 steps, and a flag that comes before the row."""
    assert problem_of({"steps": 500, "num_vectors": 8}, tmp_path) is None
    assert problem_of({}, tmp_path) is None
    assert problem_of({"steps": 501}, tmp_path, steps=2_000) is None


@pytest.mark.parametrize(
    "text",
    ["steps", "steps=", "steps=many", "output=3", "=5", "model=1", "token=2", "steps=nan", "pixels=inf", "steps=-1"],
)
def test_what_is_no_limit(text: str) -> None:
    with pytest.raises(BadInput, match=r"row_limits.* is no limit; write NAME=NUMBER with one of pictures, pixels, "):
        RowLimits.parse([text])


def test_every_number_of_a_row_can_be_limited() -> None:
    assert {"steps", "batch_size", "resolution", "crops", "validation_samples", "lr", "class_weight"} <= set(SETTINGS)
    assert RowLimits.parse([f"{name}=3" for name in SETTINGS]).most == dict.fromkeys(SETTINGS, 3.0)
    assert RowLimits.parse([]).bounds() == Bounds()
