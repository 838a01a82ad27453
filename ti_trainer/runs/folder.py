"""What lies in runs/NAME, and how it gets there whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import safe_open

from ..config.config import TrainConfig
from ..config.settings import config_to_mapping, configs_to_yaml, marked, read_yaml
from ..embedding_files.write import write_tensors
from ..errors import BadInput
from ..files.atomic import write_bytes
from .checkpoints import Checkpoint
from .storage import Storage, is_remote, line_of

Entry = Mapping[str, Any]  # of the manifest


def with_config(entry: Entry | None) -> Entry | None:
    """An entry of the manifest, unless it is damaged or somebody else's."""
    return entry if entry and isinstance(entry.get("config"), dict) else None


def work_folder(output: str) -> Path:
    """Where runs are made whose output is a URL: a folder of the user's own, the same at the next attempt."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "ti_trainer" / hashlib.sha256(output.encode()).hexdigest()[:16]


class RunFolder:
    """The folder of one run. Paths are cheap; nothing is written before `create`.

    Where the output is not a local folder, the run is made in a local one that is named after it, so that a killed run
    can be resumed on the same machine, and published from there.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config, self.name = config, config.run_name
        self.storage = Storage(config.output)
        self.path = Path(config.output) / self.name
        if is_remote(config.output):
            self.path = work_folder(config.output) / self.name
        self._lock = FileLock(self.path / ".lock", timeout=0)

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

    @property
    def embedding(self) -> Path:
        """The file for WebUIs."""
        return self.path / f"{self.config.concept.stem}.safetensors"

    def diffusers_embedding(self, suffix: str = "") -> Path:
        """The file for diffusers' text_encoder or, with "_2", text_encoder_2."""
        return self.path / "diffusers" / f"learned_embeds{suffix}.safetensors"

    @property
    def is_local(self) -> bool:
        return not is_remote(self.config.output)

    @property
    def location(self) -> Path | str:
        """Of the published folder."""
        return self.path if self.is_local else self.storage.place(self.name)

    def location_of(self, file: Path) -> Path | str:
        """Of a published file of the folder."""
        return file if self.is_local else self.place(file)

    @property
    def is_complete(self) -> bool:
        """Whether the run is published, and to the end that is asked for now."""
        entry, asked = None if self.config.overwrite else self.finished(), config_to_mapping(self.config)
        return entry is not None and all(entry["config"].get(key) == asked[key] for key in ("steps", "early_stop"))

    def place(self, file: Path) -> str:
        """Where a file lies when the run is published, as the user writes it."""
        return self.storage.place(self.name, file.relative_to(self.path).as_posix())

    @property
    def resume_command(self) -> str:
        return f"accelerate launch train.py --config {shlex.quote(str(self.config_file))} --resume"

    @property
    def holds_run(self) -> bool:
        return self.config_file.exists() or self.checkpoints.exists()

    def check(self, manifest: Mapping[str, Entry] | None = None) -> None:
        """Raises BadInput when the folder holds a run that is neither resumed nor overwritten, or another one's.

        manifest: what is published of the output, where the run is one of many; to resume those is to do what is
        missing, so there may be nothing yet, or something finished.
        """
        line_of(self.name)  # refuses names that cannot be published
        entry = self.finished() if manifest is None else with_config(manifest.get(self.name))
        place = self.storage.place(self.name)
        if self.path.exists() and not self.path.is_dir():
            raise BadInput(f"{self.path} is a file; choose another --output or --name")
        if self.config.resume:
            if manifest is None and not self.steps_saved():
                cure = "it is finished, and --overwrite does it again" if entry else "leave out --resume"
                raise BadInput(f"{place} holds no checkpoint to resume from; {cure}")
            if self.steps_saved() or entry:
                self.check_same_run(entry)
        elif (self.holds_run or entry) and not self.config.overwrite:
            raise BadInput(f"{place} holds a run; add --resume to go on, --overwrite to delete it, or a new --name")

    def check_same_run(self, entry: Entry | None) -> None:
        saved = entry["config"] if entry else read_yaml(str(self.config_file))
        asked = config_to_mapping(self.config)
        free = marked("free_on_resume", type(self.config))
        differ = [key for key in asked if key not in free and saved.get(key) != asked[key]]
        if differ:
            changes = "; ".join(f"{key} was {saved.get(key)} and is {asked[key]}" for key in differ)
            raise BadInput(f"--resume goes on with the same settings, but {changes}. Use: {self.resume_command}")

    def finished(self) -> Entry | None:
        """The manifest's entry of this run, which is there when all of it is published."""
        return with_config(self.storage.entry(self.name))

    def acquire(self) -> bool:
        """Keep everybody else from training into this folder until `release`; False when somebody does already."""
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout:
            return False
        return True

    def release(self) -> None:
        """Let others in; a folder in which nothing was made is removed."""
        self._lock.release()
        if self.path.exists() and [item.name for item in self.path.iterdir()] == [".lock"]:
            shutil.rmtree(self.path)

    def create(self) -> None:
        """Write the resolved config; with `overwrite`, after deleting the run that the folder holds."""
        if self.config.overwrite:
            self.storage.withdraw(self.name)
        if self.config.overwrite and self.holds_run:  # a folder of other things, named by mistake, is left alone
            for item in self.path.iterdir():
                if item.name != ".lock":
                    shutil.rmtree(item) if item.is_dir() and not item.is_symlink() else item.unlink()
        self.checkpoints.mkdir(exist_ok=True)
        write_bytes(configs_to_yaml([self.config]).encode(), self.config_file)

    def steps_saved(self) -> list[int]:
        names = (re.fullmatch(r"step-(\d+)\.safetensors", path.name) for path in self.checkpoints.glob("step-*"))
        return sorted(int(found[1]) for found in names if found)

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        info = {"info": json.dumps({"step": checkpoint.step, **checkpoint.info}, sort_keys=True)}
        tensors = {name: tensor.cpu() for name, tensor in checkpoint.tensors.items()}
        write_tensors(tensors, info, self.checkpoints / f"step-{checkpoint.step:06d}.safetensors")

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

    def publish(self, entry: Mapping[str, Any]) -> None:
        """Bring all files to where the output is, then the manifest's entry; the local copy of a remote run goes."""
        files = {
            path.relative_to(self.path).as_posix(): path
            for path in sorted(self.path.rglob("*"))
            if path.is_file() and not path.name.startswith(".") and path.parent != self.checkpoints
        }
        self.storage.publish(self.name, files, {**entry, "config": config_to_mapping(self.config)})
        if is_remote(self.config.output):
            shutil.rmtree(self.path)
