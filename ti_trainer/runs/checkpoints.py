"""The state of a run, in memory and on disk."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..embedding_files.metadata import CHECKPOINT_HASH as HASH
from ..embedding_files.metadata import CHECKPOINT_INFO as INFO
from ..embedding_files.tensors import read_tensors
from ..embedding_files.write import write_tensors
from ..errors import BadInput
from ..files.wording import flag, printable


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after `step` steps; everything else is a function of the config."""

    step: int
    tensors: Mapping[str, Tensor]
    info: Mapping[str, Any]  # what is no tensor, as JSON has it


class Unusable(Exception):
    """Nothing can go on from a checkpoint; the message says why, to follow the name of its file."""


class Checkpoints:
    """A folder of checkpoints, one a file of some kilobytes, each there whole or not at all.

    A file says what it holds (`sha256`) and whose it is (`run`): what a disk or a person has changed is not taken for
    what the run had learned.
    """

    def __init__(self, folder: Path, run: str) -> None:
        """run: what tells the run from others, see `identity`."""
        self.folder = folder
        self.run = run

    def file(self, step: int) -> Path:
        return self.folder / f"step-{step:06d}.safetensors"

    def steps(self) -> list[int]:
        """The steps that are saved, rising."""
        found = [re.fullmatch(r"step-(\d{6,8})\.safetensors", path.name) for path in self.folder.glob("step-*")]
        steps = sorted(int(name[1]) for name in found if name)
        return [step for step in steps if self.file(step).is_file()]  # reading a pipe of that name would never end

    def save(self, checkpoint: Checkpoint, about: Mapping[str, str] | None = None) -> Path:
        """Write a checkpoint, and return its file; about: the metadata of its rows, as embedding files have it."""
        info = json.dumps({"step": checkpoint.step, "run": self.run, **checkpoint.info}, sort_keys=True)
        tensors = {name: tensor.cpu() for name, tensor in checkpoint.tensors.items()}
        metadata = {**(about or {}), INFO: info}
        file = self.file(checkpoint.step)
        write_tensors(tensors, {**metadata, HASH: content_hash(tensors, metadata)}, file)
        return file

    def load(self, step: int) -> Checkpoint:
        """The checkpoint of a step; raises Unusable for one that is not as it was saved, or is another run's."""
        try:
            tensors, metadata = read_tensors(self.file(step))
            if metadata.pop(HASH) != content_hash(tensors, metadata):
                raise ValueError
            info = json.loads(metadata[INFO])
            owner = info.pop("run")
            saved_step = info.pop("step")
        except (BadInput, OSError, KeyError, ValueError, AttributeError, RecursionError):
            raise Unusable("is damaged") from None
        if owner != self.run or saved_step != step:
            raise Unusable("is of another run or step")
        return Checkpoint(step, tensors, info)

    def use_newest(self, use: Callable[[Checkpoint], None]) -> list[str]:
        """Have the newest checkpoint used that can be; returns a line for each newer one.

        use: raises Unusable for a checkpoint that does not fit, and has then changed nothing. Where nothing is saved it
        is not called. Raises BadInput where there are checkpoints and none can be used.
        """
        refused = []
        for step in reversed(self.steps()):
            try:
                use(self.load(step))
            except Unusable as problem:
                refused.append(f"{printable(self.file(step))} {problem}")
            else:
                return [f"{reason}; the run goes on from step {step}" for reason in refused]
        if refused:
            raise BadInput(f"{refused[0]}, and there is no other to go on from; {flag('overwrite', True)} starts again")
        return []

    def load_last(self) -> Checkpoint:
        return self.load(self.steps()[-1])

    def drop_after(self, step: int) -> None:
        for later in self.steps():
            if later > step:
                self.file(later).unlink()


def content_hash(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """The SHA-256 of names, types, shapes and bytes of tensors, and of what is said of them."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
