"""Which step is the best where several are equally good: the first of them, wherever the best step is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ti_trainer import Run, TrainConfig, train, train_all
from ti_trainer.embedding_files import read_embedding


def measured(run: Run) -> dict[int, float]:
    """The validation losses of a run by step."""
    return {line["step"]: line["validation_loss"] for line in run.history if "validation_loss" in line}


def best_steps(run: Run) -> set[int]:
    """What the run, its embedding file and the manifest say."""
    (entry,) = (Path(run.folder).parent / "manifest").glob(f"{Path(run.folder).name}.json")
    exported = read_embedding(run.embedding).metadata["ti_trainer.step"]
    return {run.best_step, int(exported), json.loads(entry.read_text())["best_step"]}


@pytest.mark.parametrize("every", [1, 2, 3])
def test_rows_that_never_move(make_config: Callable[..., TrainConfig], every: int) -> None:
    """All losses are one number, and the first step with it is step 0, before the first line of the metrics."""
    run = train(make_config(steps=6, lr=0, validate_every=every))
    losses = measured(run)
    assert list(losses) == list(range(every, 7, every))
    assert len(set(losses.values())) == 1
    assert best_steps(run) == {0}


def test_rows_that_stop_moving(make_config: Callable[..., TrainConfig]) -> None:
    """They learn for four steps; the same rows measured at steps 6 and 8 are not better, and early stopping sees it."""
    how = {"steps": 40, "lr": 0.005, "lr_schedule": "piecewise:4=0", "validate_every": 2, "checkpoint_every": 2}
    run = train(make_config(**how, batch_size=6, validation_samples=8, early_stop=2))
    losses = measured(run)
    assert list(losses) == [2, 4, 6, 8]  # 8: two measurements without a better one
    assert losses[2] > losses[4] == losses[6] == losses[8]
    assert best_steps(run) == {4}
    kept = load_file(Path(run.folder) / "checkpoints" / "step-000004.safetensors")["rows.clip_l"]
    assert torch.equal(read_embedding(run.embedding).vectors["clip_l"], kept)


def test_each_of_several(make_two: Callable[..., list[TrainConfig]]) -> None:
    for run in train_all(make_two(steps=4, lr=0, validate_every=2)):
        assert len(set(measured(run).values())) == 1
        assert best_steps(run) == {0}
