from pathlib import Path

import pytest

from tests.three_pictures import COLOURS, encoded


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, colour in enumerate(COLOURS):
        (tmp_path / f"{number}.png").write_bytes(encoded(colour))
    return tmp_path
