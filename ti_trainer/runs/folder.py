"""The folder of one run: who may write into it, how it begins, and how it is published."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..config.config import TrainConfig
from ..config.settings import config_to_mapping, configs_to_yaml, read_yaml
from ..errors import BadInput
from ..files.atomic import make_folder, remove_unfinished, write_bytes
from ..files.remote import explained
from .checkpoints import Checkpoints
from .files import RunFiles
from .identity import identity
from .lock import RunLock
from .metrics import Metrics, parse_metrics
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
        self.checkpoints = Checkpoints(self.files.checkpoints, identity(config))
        self.metrics = Metrics(self.files.metrics)
        self.lock = RunLock(self.files.lock)

    def resolve(self, config: TrainConfig) -> None:
        """Take the config with what has been found for it, such as the words to start from; `create` writes it."""
        self.config = config
        self.checkpoints = Checkpoints(self.files.checkpoints, identity(config))

    @property
    def path(self) -> Path:
        """The local folder."""
        return self.files.root

    @property
    def holds_run(self) -> bool:
        """Whether the folder has something that was learned: a checkpoint, or an embedding that was made of one.

        A run that was stopped before its first checkpoint leaves nothing of that kind, and whatever is asked for next
        begins at step 0.
        """
        embeddings = (self.files.embedding, self.files.diffusers_embedding())
        return bool(self.checkpoints.steps()) or any(file.exists() for file in embeddings)

    @property
    def is_of_a_run(self) -> bool:
        """Whether a run has begun in the folder, so that it may be deleted; others hold things of somebody else."""
        return bool(self.checkpoints.steps()) or self.saved_settings() is not None

    def saved_settings(self) -> dict[str, Any] | None:
        """What config.yaml says; None where it is missing, damaged or not of a run."""
        try:
            settings = read_yaml(str(self.files.config))
        except BadInput:
            return None
        return settings if "token" in settings else None

    def place(self, file: Path | None = None) -> Path | str:
        """Where the folder, or a file of it, is when the run is published: a path, or a URL where the output is one."""
        name = "" if file is None else self.relative(file)
        return self.path / name if self.is_local else self.storage.place(self.name, name)

    def relative(self, file: Path) -> str:
        """A file's name within the folder, with slashes."""
        return file.relative_to(self.path).as_posix()

    def acquire(self) -> bool:
        """Keep everybody else from training into this folder until `release`; False when somebody does already.

        What a process that died left unfinished is deleted. Raises BadInput or OSError where nothing can be written.
        """
        with explained(str(self.path), "written"):
            is_new = not self.path.exists()
            make_folder(self.path)
            if not self.lock.acquire():
                return False
            try:
                if not is_new:
                    remove_unfinished(self.path)
                    self.storage.remove_unfinished(self.name)
                if self.files.discarded.exists():
                    shutil.rmtree(self.files.discarded)
            except BaseException:
                self.lock.release()
                raise
        return True

    def release(self) -> None:
        """Let others in; a folder in which nothing was made is removed."""
        try:
            with suppress(OSError):
                if set(self.path.iterdir()) <= {self.lock.file, self.lock.owner}:
                    shutil.rmtree(self.path)  # before others are let in, who would lose their lock with it
        finally:
            self.lock.release()

    def published_metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl where the output is."""
        return list(parse_metrics(self.storage.read_file(self.name, self.files.metrics.name) or b""))

    def create(self) -> None:
        """Write the resolved config; with `overwrite`, after deleting the run that the folder holds."""
        if self.config.overwrite:
            self.storage.withdraw(self.name)
            if self.is_of_a_run:  # a folder of other things, named by mistake, is left alone
                self.delete_contents()
        make_folder(self.files.checkpoints)
        write_bytes(configs_to_yaml([self.config]).encode(), self.files.config)

    def delete_contents(self) -> None:
        """Delete all but the lock, in an order in which a kill leaves no checkpoint without its metrics."""
        if self.files.checkpoints.is_dir() and not self.files.checkpoints.is_symlink():
            shutil.rmtree(self.files.checkpoints)
        kept = {self.lock.file, self.lock.owner, self.files.config}
        for item in set(self.path.iterdir()) - kept:
            if item.is_dir() and not item.is_symlink():
                shutil.rmtree(item)
            else:
                item.unlink()
        self.files.config.unlink(missing_ok=True)  # last: it says that all this is of a run

    def drop_after(self, step: int) -> None:
        """Delete what is of later steps: the run goes on from this one, and perhaps to another end."""
        self.checkpoints.drop_after(step)
        for later in self.files.after(step):
            later.unlink()

    def publish(self, entry: Mapping[str, Any]) -> None:
        """Bring all files to where the output is, then the manifest's entry; the local copy of a remote run goes."""
        config = self.config
        about = {"config": config_to_mapping(config), "columns": dict(config.origin.columns)}
        entry = {**entry, "status": "finished", **about}
        self.storage.publish(self.name, self.files.to_publish(), entry)
        if not self.is_local:
            self.discard()

    def discard(self) -> None:
        """Delete the local copy, as far as that can be; renamed first, a kill leaves no part of a run to go on from."""
        with suppress(OSError):
            self.path.replace(self.files.discarded)
            shutil.rmtree(self.files.discarded)
