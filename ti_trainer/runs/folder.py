"""The folder of one run: who may write into it, how it begins, and how it is published."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..config.config import TrainConfig
from ..config.settings import config_to_mapping, configs_to_yaml
from ..files.atomic import write_bytes
from .checkpoints import Checkpoints
from .files import RunFiles
from .metrics import Metrics
from .storage import Storage, is_remote


def work_folder(output: str) -> Path:
    """Where runs are made whose output is a URL: a folder of the user's own, the same at the next attempt."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "ti_trainer" / hashlib.sha256(output.encode()).hexdigest()[:16]


class RunFolder:
    """The folder of one run. Nothing is written before `acquire`.

    A run is made in a local folder and published to its output. Where the output is local the two are the same; where
    it is a URL the local one is named after it, so that a killed run can be resumed on the same machine.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.name = config.run_name
        self.storage = Storage(config.output)
        self.is_local = not is_remote(config.output)
        parent = Path(config.output) if self.is_local else work_folder(config.output)
        self.files = RunFiles(parent / self.name, config.concept.stem)
        self.checkpoints = Checkpoints(self.files.checkpoints)
        self.metrics = Metrics(self.files.metrics)
        self._lock = FileLock(self.files.lock, timeout=0)

    def resolve(self, config: TrainConfig) -> None:
        """Take the config with what has been found for it, such as the words to start from; `create` writes it."""
        self.config = config

    @property
    def path(self) -> Path:
        """The local folder."""
        return self.files.root

    @property
    def holds_run(self) -> bool:
        return self.files.config.exists() or self.files.checkpoints.exists()

    def place(self, file: Path | None = None) -> Path | str:
        """Where the folder, or a file of it, is when the run is published: a path, or a URL where the output is one."""
        name = "" if file is None else file.relative_to(self.path).as_posix()
        return self.path / name if self.is_local else self.storage.place(self.name, name)

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
        if self.path.exists() and list(self.path.iterdir()) == [self.files.lock]:
            shutil.rmtree(self.path)

    def create(self) -> None:
        """Write the resolved config; with `overwrite`, after deleting the run that the folder holds."""
        if self.config.overwrite:
            self.storage.withdraw(self.name)
            if self.holds_run:  # a folder of other things, named by mistake, is left alone
                self.delete_contents()
        self.files.checkpoints.mkdir(exist_ok=True)
        write_bytes(configs_to_yaml([self.config]).encode(), self.files.config)

    def delete_contents(self) -> None:
        """Delete all but the lock."""
        for item in self.path.iterdir():
            if item == self.files.lock:
                continue
            if item.is_dir() and not item.is_symlink():
                shutil.rmtree(item)
            else:
                item.unlink()

    def publish(self, entry: Mapping[str, Any]) -> None:
        """Bring all files to where the output is, then the manifest's entry; the local copy of a remote run goes."""
        entry = {**entry, "config": config_to_mapping(self.config)}
        self.storage.publish(self.name, self.files.to_publish(), entry)
        if not self.is_local:
            shutil.rmtree(self.path)
