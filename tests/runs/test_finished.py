"""Which folders hold a finished run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.run_folders import made, started
from ti_trainer import BadInput
from ti_trainer.runs.finished import read_finished


def test_a_finished_run(tmp_path: Path) -> None:
    folder = made(started(tmp_path, lr=0.5))
    config, files = read_finished(folder.path)
    assert config == folder.config
    assert files == folder.files


def test_what_is_none(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is a folder without config\.yaml; give an embedding file or the folder"):
        read_finished(tmp_path)
    folder = started(tmp_path)
    with pytest.raises(BadInput, match=r"has no cat\.safetensors yet; let its run end, or go on with it with --resume"):
        read_finished(folder.path)
