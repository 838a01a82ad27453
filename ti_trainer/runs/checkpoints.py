"""The state of a run, in memory and on disk."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from ..embedding_files.write import write_tensors


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after `step` steps; everything else is a function of the config."""

    step: int
    tensors: Mapping[str, Tensor]
    info: Mapping[str, Any]  # what is no tensor, as JSON has it


class Checkpoints:
    """A folder of checkpoints, one a file of some kilobytes, each there whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, step: int) -> Path:
        return self.folder / f"step-{step:06d}.safetensors"

    def steps(self) -> list[int]:
        """The steps that are saved, rising."""
        names = (re.fullmatch(r"step-(\d+)\.safetensors", path.name) for path in self.folder.glob("step-*"))
        return sorted(int(found[1]) for found in names if found)

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint, and return its file."""
        info = {"info": json.dumps({"step": checkpoint.step, **checkpoint.info}, sort_keys=True)}
        tensors = {name: tensor.cpu() for name, tensor in checkpoint.tensors.items()}
        file = self.file(checkpoint.step)
        write_tensors(tensors, info, file)
        return file

    def load(self, step: int) -> Checkpoint:
        """The checkpoint of a step that is saved."""
        with safe_open(self.file(step), framework="pt") as file:
            info = json.loads(file.metadata()["info"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return Checkpoint(info.pop("step"), tensors, info)

    def load_last(self) -> Checkpoint:
        return self.load(self.steps()[-1])

    def drop_after(self, step: int) -> None:
        for later in self.steps():
            if later > step:
                self.file(later).unlink()
