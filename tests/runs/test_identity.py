"""Which settings make a run what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.run_folders import DOG, settings
from ti_trainer.runs.identity import identity, lasting_settings


def test_what_may_change_does_not_count(tmp_path: Path) -> None:
    config = settings(tmp_path)
    free = settings(tmp_path / "moved", steps=7, checkpoint_every=3, name="other", resume=True)
    assert identity(free) == identity(config)
    assert lasting_settings(free) == lasting_settings(config)
    assert {"lr", "seed", "token", "images", "model"} < lasting_settings(config).keys()
    assert len(identity(config)) == 64


@pytest.mark.parametrize("change", [{"lr": 0.5}, {"seed": 1}, {"concept": DOG}, {"optimizer": "adamw"}])
def test_what_may_not_change_does(tmp_path: Path, change: dict) -> None:
    assert identity(settings(tmp_path, **change)) != identity(settings(tmp_path))
