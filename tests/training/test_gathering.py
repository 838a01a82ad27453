"""What is read of a concept before the device has anything to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.running import MakeConfig
from ti_trainer import BadInput
from ti_trainer.families import load_family
from ti_trainer.training.gathering import gather


def test_pictures_come_before_the_model(make_config: MakeConfig, tmp_path: Path) -> None:
    def load() -> Any:
        raise AssertionError("the model was loaded")

    with pytest.raises(BadInput, match="does not exist"):
        gather(make_config(images=str(tmp_path / "nothing")), load)


def test_what_is_gathered(make_config: MakeConfig) -> None:
    config = make_config(crop="random", crops=3, flip=True)
    family = load_family(config, torch.device("cpu"), torch.float32)
    asked: list[int] = []
    found = gather(config, lambda: family, lambda things, count: asked.append(count) or things)  # type: ignore[func-returns-value]
    assert asked == [len(found.examples)]
    assert [len(views) for views in found.views] == [6] * len(found.examples)
    assert not any(view.is_encoded for views in found.views for view in views)
    assert (found.framing.resolution, found.scratch, found.config) == (family.spec.resolution, None, config)
