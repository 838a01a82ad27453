"""What lies in runs/NAME, and how it gets there whole or not at all."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import safe_open
from torch import Tensor

from .atomic import write_bytes
from .config import Concept, TrainConfig
from .embedding_files.write import write_tensors
from .errors import BadInput
from .settings import config_to_mapping, config_to_yaml, read_yaml

# settings that a resumed run may change: they do not change what the finished steps were
FREE_ON_RESUME = {
    "steps",
    "checkpoint_every",
    "latent_cache",
    "preview_every",
    "preview_steps",
    "guidance",
    "tensorboard",
    "output",
    "name",
}


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after `step` steps; everything else is a function of the config."""

    step: int
    tensors: Mapping[str, Tensor]
    info: Mapping[str, Any]


class RunFolder:
    """The folder of one run. Paths are cheap; nothing is written before `create`."""

    def __init__(self, config: TrainConfig) -> None:
        self.path = Path(config.output) / config.run_name
        self.config = config

    @property
    def config_file(self) -> Path:
        return self.path / "config.yaml"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def loss_plot(self) -> Path:
        return self.path / "loss.png"

    @property
    def before_after(self) -> Path:
        return self.path / "before_after.png"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def preview(self, step: int) -> Path:
        return self.path / "previews" / f"step-{step:06d}.png"

    def embedding(self, concept: Concept) -> Path:
        """The file for WebUIs."""
        return self.path / f"{concept.stem}.safetensors"

    def diffusers_embedding(self, concept: Concept, suffix: str = "") -> Path:
        """The file for diffusers' text_encoder or, with "_2", text_encoder_2; several concepts have a folder each."""
        folder = self.path / "diffusers"
        if len(self.config.concepts) > 1:
            folder /= concept.stem
        return folder / f"learned_embeds{suffix}.safetensors"

    @property
    def resume_command(self) -> str:
        return f"accelerate launch train.py --config {shlex.quote(str(self.config_file))} --resume"

    @property
    def holds_run(self) -> bool:
        return self.config_file.exists() or self.checkpoints.exists()

    def check(self) -> None:
        """Raises BadInput when the folder holds a run that is neither resumed nor overwritten, or another one's."""
        if self.path.exists() and not self.path.is_dir():
            raise BadInput(f"{self.path} is a file; choose another --output or --name")
        if self.config.resume:
            if not self.holds_run or not self.steps_saved():
                raise BadInput(f"{self.path} holds no checkpoint to resume from; leave out --resume")
            self.check_same_run()
        elif self.holds_run and not self.config.overwrite:
            raise BadInput(f"{self.path} holds a run; add --resume to go on, --overwrite to delete it, or a new --name")

    def check_same_run(self) -> None:
        saved, asked = read_yaml(str(self.config_file)), config_to_mapping(self.config)
        differ = [key for key in asked if key not in FREE_ON_RESUME and saved.get(key) != asked[key]]
        if differ:
            changes = "; ".join(f"{key} was {saved.get(key)} and is {asked[key]}" for key in differ)
            raise BadInput(f"--resume goes on with the same settings, but {changes}. Use: {self.resume_command}")

    @contextmanager
    def locked(self, is_main: bool) -> Iterator[None]:
        """Nobody else may train into this folder inside the block; raises BadInput when somebody does.

        Only the main process holds the lock; the others enter freely.
        """
        if not is_main:
            yield
            return
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise BadInput(f"another process is training into {self.path}; choose another --name") from None
        try:
            yield
        finally:
            lock.release()

    def create(self) -> None:
        """Write the resolved config; with `overwrite`, after deleting the run that the folder holds."""
        if self.config.overwrite and self.holds_run:  # a folder of other things, named by mistake, is left alone
            for item in self.path.iterdir():
                if item.name != ".lock":
                    shutil.rmtree(item) if item.is_dir() and not item.is_symlink() else item.unlink()
        self.checkpoints.mkdir(exist_ok=True)
        write_bytes(config_to_yaml(self.config).encode(), self.config_file)

    def steps_saved(self) -> list[int]:
        names = (re.fullmatch(r"step-(\d+)\.safetensors", path.name) for path in self.checkpoints.glob("step-*"))
        return sorted(int(found[1]) for found in names if found)

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        info = {"info": json.dumps({"step": checkpoint.step, **checkpoint.info}, sort_keys=True)}
        write_tensors(checkpoint.tensors, info, self.checkpoints / f"step-{checkpoint.step:06d}.safetensors")

    def load_checkpoint(self) -> Checkpoint:
        """The last one."""
        path = self.checkpoints / f"step-{self.steps_saved()[-1]:06d}.safetensors"
        with safe_open(path, framework="pt") as file:
            info = json.loads(file.metadata()["info"])
            return Checkpoint(info.pop("step"), {key: file.get_tensor(key) for key in file.keys()}, info)  # noqa: SIM118

    def drop_checkpoints_after(self, step: int) -> None:
        for later in self.steps_saved():
            if later > step:
                (self.checkpoints / f"step-{later:06d}.safetensors").unlink()

    def read_metrics(self, last_step: int | None = None) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl up to a step; a line that a kill cut short is no line."""
        records = []
        for line in self.metrics_file.read_text().splitlines() if self.metrics_file.exists() else ():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if last_step is None or record["step"] <= last_step:
                records.append(record)
        return records

    def rewrite_metrics(self, records: list[dict[str, Any]]) -> None:
        write_bytes("".join(json.dumps(record) + "\n" for record in records).encode(), self.metrics_file)

    def append_metrics(self, records: list[dict[str, Any]]) -> None:
        with self.metrics_file.open("a") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
