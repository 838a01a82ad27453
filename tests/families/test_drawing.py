"""Pictures of a family are drawn by its pipeline, which stays as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.families.inputs import load


def test_the_pipeline_is_as_before(any_model: Path) -> None:
    """Its scheduler and its progress bars; and each step is told."""
    family: Any = load(any_model)
    pipeline = family.pipeline()
    scheduler = pipeline.scheduler
    pipeline.set_progress_bar_config(disable=False, desc="mine")
    steps: list[int] = []
    noise = torch.randn(2, family.latent_channels, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        images = family.draw(["a dog", "a cat"], noise, 2, 3.0, after_step=lambda: steps.append(1))
    assert [image.size for image in images] == [(32, 32)] * 2
    assert len(steps) == 2
    assert pipeline.scheduler is scheduler
    bar = {"disable": False, "desc": "mine"}
    assert getattr(pipeline, "_progress_bar_config", bar) == bar  # a modular one has none of its own
