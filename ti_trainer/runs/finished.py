"""A finished run, as it lies in its folder."""

from __future__ import annotations

from pathlib import Path

from ..config.config import TrainConfig
from ..config.settings import config_from_mapping, read_yaml
from ..errors import BadInput
from ..files.wording import printable
from .files import RunFiles


def read_finished(folder: Path) -> tuple[TrainConfig, RunFiles]:
    """The settings of a run and where its files are; raises BadInput for other folders and for runs that go on."""
    shown = printable(folder)
    if not RunFiles(folder, "").config.exists():
        raise BadInput(f"{shown} is a folder without config.yaml; give an embedding file or the folder of a run")
    config = config_from_mapping(read_yaml(str(RunFiles(folder, "").config)))
    files = RunFiles(folder, config.concept.stem)
    if not files.embedding.exists():
        raise BadInput(f"{shown} has no {files.embedding.name} yet; let its run end, or go on with it with --resume")
    return config, files
