"""What several tests of training need: quick settings, and pictures of several shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.running import MakeConfig
from ti_trainer import TrainConfig, train
from ti_trainer.data.examples import MaskSource
from ti_trainer.data.images import Picture

SHAPES = {"square": (32, 32), "wide": (90, 42), "high": (40, 80), "almost": (50, 46)}


@pytest.fixture(scope="module")
def shaped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a picture of each shape."""
    folder, draws = tmp_path_factory.mktemp("shaped"), np.random.default_rng(3)
    for name, size in SHAPES.items():
        ground, blob = (tuple(colour) for colour in draws.integers(0, 256, (2, 3)).tolist())
        image = Image.new("RGB", size, ground)
        box = (size[0] // 2, size[1] // 4, size[0] // 2 + 16, size[1] // 4 + 16)
        ImageDraw.Draw(image).ellipse(box, fill=blob)
        image.save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def left_edge(tmp_path_factory: pytest.TempPathFactory) -> MaskSource:
    """The mask of a wide picture whose subject is at its left edge."""
    path = tmp_path_factory.mktemp("masks") / "left.png"
    mask = Image.new("L", SHAPES["wide"], 0)
    ImageDraw.Draw(mask).ellipse((2, 8, 18, 24), fill=255)
    mask.save(path)
    return MaskSource(Picture.at(path))


@pytest.fixture
def quick(make_config: MakeConfig) -> MakeConfig:
    """Without pictures at the end."""

    def make(**changes: Any) -> TrainConfig:
        return make_config(**{"batch_size": 1, "validation_samples": 2, **changes})

    return make


@pytest.fixture
def learned(make_config: MakeConfig, tmp_path: Path) -> Path:
    """The file of rows that a step of a high learning rate only makes worse."""
    config = make_config(steps=20, lr=0.02, validation_samples=8, output=str(tmp_path / "learned"))
    return Path(train(config).embedding)
