"""Run folders in several states, for the tests of ti_trainer/runs/."""

from __future__ import annotations

from pathlib import Path

import torch

from ti_trainer.config.concept import Concept
from ti_trainer.config.config import TrainConfig
from ti_trainer.runs.checkpoints import Checkpoint
from ti_trainer.runs.folder import RunFolder

CAT, DOG = Concept("<cat>"), Concept("dog", tune=True)


def settings(tmp_path: Path, **changes) -> TrainConfig:
    return TrainConfig(**{"concept": CAT, "output": str(tmp_path / "runs"), **changes})


def started(tmp_path: Path, **changes) -> RunFolder:
    """The folder of a run that has begun."""
    folder = RunFolder(settings(tmp_path, **changes))
    assert folder.acquire()
    folder.create()
    folder.release()
    return folder


def checkpoint(step: int) -> Checkpoint:
    draws = torch.Generator().manual_seed(step)
    tensors = {
        "rows.clip_l": torch.randn(3, 5, generator=draws),
        "optimizer.0.step": torch.tensor(float(step)),
        "count": torch.tensor([2**40, -1]),
    }
    return Checkpoint(step, tensors, {"best": {"<cät>": [step, 0.1 + 0.2], "<x>": [0, float("inf")]}})


def last_checkpoint(folder: RunFolder) -> Checkpoint:
    return folder.checkpoints.load(folder.checkpoints.steps()[-1])


def made(folder: RunFolder, content: bytes = b"rows") -> RunFolder:
    """A run with its last files."""
    folder.checkpoints.save(checkpoint(3))
    folder.metrics.append([{"step": 3, "loss": 0.5}])
    folder.files.embedding.write_bytes(content)
    folder.files.preview(2, 1).parent.mkdir()
    folder.files.preview(2, 1).write_bytes(b"png")
    return folder
