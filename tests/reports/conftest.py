from pathlib import Path

import pytest
from PIL import Image

from tests.tiny_judge import build_clip, build_dino, build_judge, build_siglip
from ti_trainer.data.images import centre_square, read_image
from ti_trainer.data.sources.folders import find_pictures


@pytest.fixture(scope="session")
def judge_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random classifier of attributes."""
    return build_judge(tmp_path_factory.mktemp("judge"))


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="session")
def siglip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_siglip(tmp_path_factory.mktemp("siglip"))


@pytest.fixture(scope="session")
def dino_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_dino(tmp_path_factory.mktemp("dino"))


@pytest.fixture(scope="session")
def images(pictures: Path, other_pictures: Path) -> list[Image.Image]:
    return [
        centre_square(read_image(found.picture), 32)
        for folder in (pictures, other_pictures)
        for found in find_pictures(folder).found
    ]
