"""What a run does with files, as commands that can be killed at each of its operations and typed again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

from tests.faults.disk import Disk, in_use
from tests.running import on_step
from ti_trainer import BadInput, TrainConfig, train
from ti_trainer.training.console import Silence

Train = Callable[..., Any]
CHANGES_OF_MEMORY = ("pipe_file", "put_file", "rm_file")


class Stopped(Exception):
    pass


def stop_after_one(line: Any) -> None:
    if line["step"] == 2:
        raise Stopped


@dataclass(frozen=True)
class Walk:
    """A command, and the state of the disk in which it is typed."""

    changes: dict[str, Any] = field(default_factory=dict)  # of the settings
    output: str = "{root}/runs"
    before: dict[str, Any] | None = None  # changes of the run that is there already, which was stopped after a step


WALKS = {
    "checkpoint, export, publication to a folder": Walk({"resume": True}),
    "typed without --resume": Walk(),
    "publication to memory": Walk({"resume": True}, "memory://faults/runs"),
    "publication to another folder": Walk({"resume": True}, "file://{root}/there"),
    "overwrite": Walk({"overwrite": True}, before={"lr": 0.5}),
    "resume": Walk({"resume": True}, before={}),
}


@dataclass
class Place:
    """A fresh disk for one walk. root: its folder."""

    walk: Walk
    config: TrainConfig
    root: Path
    kept: Path  # where the state before the command is kept
    run: Train

    def prepare(self) -> None:
        """Make the state in which the command is typed for the first time."""
        shutil.rmtree(self.root, ignore_errors=True)
        MemoryFileSystem.store.clear()
        MemoryFileSystem.pseudo_dirs[:] = [""]
        if not self.kept.exists():
            self.root.mkdir()
            self.run_before()
            shutil.copytree(self.root, self.kept)
        else:
            shutil.copytree(self.kept, self.root)

    def run_before(self) -> None:
        """The run that is there already."""
        if self.walk.before is not None:
            earlier = replace(self.asked, resume=False, overwrite=False, **self.walk.before)
            with suppress(Stopped):
                self.run(earlier, [on_step(stop_after_one)])
            (self.folder / "previews").mkdir(exist_ok=True)
            if self.walk.changes.get("overwrite"):
                (self.folder / "previews" / "step-000001.png").write_bytes(b"old")

    @property
    def asked(self) -> TrainConfig:
        return replace(self.config, output=self.walk.output.format(root=self.root), **self.walk.changes)

    @property
    def folder(self) -> Path:
        return self.root / "runs" / "my-cat"

    def type(self) -> None:
        """The command; as the error says, with `resume` where it was typed without and there is a run."""
        try:
            self.run(self.asked)
        except BadInput as problem:
            if "add resume=True to go on" not in str(problem):
                raise
            self.run(replace(self.asked, resume=True))

    def contents(self) -> dict[str, Any]:
        """Every file and folder but the lock, by name; the lines of metrics without their seconds."""
        found: dict[str, Any] = {}
        for path in sorted(self.root.rglob("*")):
            if path.name != ".lock":
                name = path.relative_to(self.root).as_posix()
                found[name] = told(name, path.read_bytes()) if path.is_file() else None
        memory = fsspec.filesystem("memory")
        for name in memory.find("/faults"):
            found[name] = told(name, memory.cat_file(name))
        return found

    @contextmanager
    def watched(self, at: int | None, **fault: Any) -> Iterator[Disk]:
        """Inside the block an operation of the command fails, whether of the disk or of the storage in memory."""
        disk = Disk(self.root)
        disk.at = at
        for name, value in fault.items():
            setattr(disk, name, value)
        originals = {name: getattr(MemoryFileSystem, name) for name in CHANGES_OF_MEMORY}

        def counted(name: str) -> Callable[..., Any]:
            def call(self: Any, path: Any, *arguments: Any, **named: Any) -> Any:
                disk.operation(name, str(path))
                return originals[name](self, path, *arguments, **named)

            return call

        for name in originals:
            setattr(MemoryFileSystem, name, counted(name))
        try:
            with in_use(disk):
                yield disk
        finally:
            for name, original in originals.items():
                setattr(MemoryFileSystem, name, original)


def told(name: str, content: bytes) -> bytes | list[bytes]:
    if not name.endswith("metrics.jsonl"):
        return content
    return [line.partition(b', "seconds"')[0] for line in content.splitlines()]


def run_quietly(pipeline: Any) -> Train:
    """`train` on a loaded model, saying nothing."""

    def run(config: TrainConfig, callbacks: Any = ()) -> Any:
        return train(config, callbacks, pipeline=pipeline, console=Silence())

    return run
