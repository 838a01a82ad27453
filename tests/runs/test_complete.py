"""Which concepts of a job `--resume` leaves alone: those that are published to the end that is asked for now."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ti_trainer import TrainConfig, train_all

STEPS = 6


@pytest.fixture
def job(make_two: Callable[..., list[TrainConfig]]) -> list[TrainConfig]:
    """Two concepts whose rows do not move, so that they stop at the second measurement; published."""
    configs = make_two(steps=STEPS, lr=0, validate_every=1, early_stop=2)
    assert [run.history[-1]["step"] for run in train_all(configs)] == [2, 2]
    return configs


def manifest(configs: list[TrainConfig]) -> dict[str, dict[str, Any]]:
    files = (Path(configs[0].output) / "manifest").glob("*.json")
    return {file.stem: json.loads(file.read_text()) for file in files}


def files_of(configs: list[TrainConfig]) -> dict[str, bytes]:
    output = Path(configs[0].output)
    return {str(path): path.read_bytes() for path in output.rglob("*") if path.is_file()}


def again(configs: list[TrainConfig], **changes: Any) -> dict[str, int]:
    """What of the job is done when it is resumed with changes: the last step of each run by its name."""
    runs = train_all([replace(config, resume=True, **changes) for config in configs])
    return {Path(run.folder).name: run.history[-1]["step"] for run in runs}


def test_the_same_job_again_is_nothing_to_do(job: list[TrainConfig]) -> None:
    before = files_of(job)
    assert again(job) == {}
    assert files_of(job) == before


@pytest.mark.parametrize(("early_stop", "end"), [(0, STEPS), (4, 4), (1, 2)])
def test_another_early_stop_is_another_end(job: list[TrainConfig], early_stop: int, end: int) -> None:
    """Later: they go on from where they stopped. Earlier: they are past it, and are published as they are."""
    assert again(job, early_stop=early_stop) == {"my-cat": end, "my-dog": end}
    for entry in manifest(job).values():
        assert (entry["step"], entry["config"]["early_stop"]) == (end, early_stop)
    assert again(job, early_stop=early_stop) == {}


def test_more_steps_are_another_end(job: list[TrainConfig]) -> None:
    assert again(job, early_stop=0) == {"my-cat": STEPS, "my-dog": STEPS}
    assert again(job, early_stop=0, steps=STEPS + 2) == {"my-cat": STEPS + 2, "my-dog": STEPS + 2}


def test_only_what_is_asked_to_go_on_does(job: list[TrainConfig]) -> None:
    cat, dog = job
    runs = train_all([replace(cat, resume=True), replace(dog, resume=True, early_stop=3)])
    assert [(Path(run.folder).name, run.history[-1]["step"]) for run in runs] == [("my-dog", 3)]
    assert {name: entry["step"] for name, entry in manifest(job).items()} == {"my-cat": 2, "my-dog": 3}


def test_what_is_overwritten_is_done_anew(job: list[TrainConfig]) -> None:
    before = files_of(job)
    runs = train_all([replace(config, overwrite=True) for config in job])
    assert [run.history[-1]["step"] for run in runs] == [2, 2]
    embeddings = [name for name in before if name.endswith(".safetensors")]
    assert {name: files_of(job)[name] for name in embeddings} == {name: before[name] for name in embeddings}
