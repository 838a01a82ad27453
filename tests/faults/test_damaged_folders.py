"""Folders of runs that a disk, a person or another program has changed: nothing is taken silently for what it was."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from tests.running import MakeConfig, on_step
from ti_trainer import BadInput, TrainConfig, train
from ti_trainer.runs.checkpoints import Checkpoint
from ti_trainer.runs.folder import RunFolder
from ti_trainer.training.console import Silence

NEWEST = 2  # the step of the last checkpoint; others are of 0 and 1
QUICK = {"steps": 3, "batch_size": 1, "validate_every": 0, "checkpoint_every": 1, "num_vectors": 2}


class Notes(Silence):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, warning: str) -> None:
        self.lines.append(warning)


class Stopped(Exception):
    pass


def stop(line: Any) -> None:
    if line["step"] == NEWEST + 1:
        raise Stopped


@pytest.fixture(scope="module")
def original(base_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped after two steps, and what becomes of it undisturbed."""
    from ti_trainer.config.settings import config_from_mapping

    root = tmp_path_factory.mktemp("original")
    config = config_from_mapping({**base_settings, **QUICK, "output": str(root / "stopped")})
    with suppress(Stopped):
        train(config, [on_step(stop)], console=Silence())
    shutil.copytree(root / "stopped", root / "whole")
    train(replace(config, output=str(root / "whole"), resume=True), console=Silence())
    return root


def newest(folder: RunFolder) -> Path:
    return folder.checkpoints.file(NEWEST)


def flip(folder: RunFolder) -> None:
    content = bytearray(newest(folder).read_bytes())
    content[-3] ^= 16
    newest(folder).write_bytes(content)


def cut(folder: RunFolder, length: int) -> None:
    newest(folder).write_bytes(newest(folder).read_bytes()[:length])


def change(folder: RunFolder, name: str, make: Callable[[Any], Any]) -> None:
    """Save the newest checkpoint once more, with its right hash and one tensor changed."""
    found = folder.checkpoints.load(NEWEST)
    tensors = {key: tensor.clone() for key, tensor in found.tensors.items()}
    tensors[name] = make(tensors.get(name))
    kept = {key: tensor for key, tensor in tensors.items() if tensor is not None}
    folder.checkpoints.save(Checkpoint(NEWEST, kept, found.info))


def of_another_run(folder: RunFolder, steps: tuple[int, ...]) -> None:
    other = RunFolder(replace(folder.config, lr=0.5))
    for step in steps:
        other.checkpoints.save(folder.checkpoints.load(step))


def spoil(folder: RunFolder) -> None:
    for step in folder.checkpoints.steps():
        folder.checkpoints.file(step).write_bytes(b"?")


def swap(path: Path, make: Callable[[Path], object]) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    make(path)


def rewrite(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


def manifest(folder: RunFolder, content: bytes) -> None:
    (folder.path.parent / "manifest").mkdir()
    (folder.path.parent / "manifest" / "my-cat.json").write_bytes(content)


PUBLISHED = json.dumps({"config": {"lr": 0.5}}).encode()
ROWS = "rows.clip_l"

# what was done to the folder -> a part of the note with which the run goes on to the right bytes ("" for none), or None
# and a part of the refusal
DAMAGE: dict[str, tuple[Callable[[RunFolder], object], str | None, str]] = {
    "a flipped byte": (flip, "is damaged; the run goes on from step 1", ""),
    "an empty checkpoint": (lambda f: cut(f, 0), "is damaged", ""),
    "half a checkpoint": (lambda f: cut(f, 900), "is damaged", ""),
    "all but a byte": (lambda f: cut(f, -1), "is damaged", ""),
    "a header without end": (lambda f: newest(f).write_bytes(b"\xff" * 7 + b"\x3f" + b"{" * 99), "is damaged", ""),
    "a text": (lambda f: newest(f).write_bytes(b"step: 2\n" * 40), "is damaged", ""),
    "no rows": (lambda f: change(f, ROWS, lambda rows: None), "has other tensors", ""),
    "a row for all": (lambda f: change(f, ROWS, lambda rows: rows[:1]), "has other tensors", ""),
    "a row missing": (lambda f: change(f, "best.clip_l", lambda rows: rows[:1]), "has other tensors", ""),
    "rows too many": (lambda f: change(f, "rows.clip_g", lambda rows: torch.ones(2, 40)), "has other tensors", ""),
    "rows of float64": (lambda f: change(f, ROWS, lambda rows: rows.double()), "has other tensors", ""),
    "rows of NaN": (lambda f: change(f, ROWS, lambda rows: rows / 0 * 0), "are no numbers", ""),
    "no moments": (lambda f: change(f, "optimizer.0.exp_avg", lambda rows: None), "has other tensors", ""),
    "another run's": (lambda f: of_another_run(f, (NEWEST,)), "is of another run", ""),
    "another step's": (lambda f: shutil.copy(f.checkpoints.file(1), newest(f)), "is of another run or step", ""),
    "a folder": (lambda f: swap(newest(f), Path.mkdir), None, "is in the way of a folder"),
    "a pipe": (lambda f: swap(newest(f), os.mkfifo), "", ""),
    "a link to nowhere": (lambda f: swap(newest(f), lambda path: path.symlink_to("nowhere")), "", ""),
    "all of another run": (lambda f: of_another_run(f, (0, 1, 2)), None, "no other to go on from; overwrite=True"),
    "all damaged": (spoil, None, "no other to go on from; overwrite=True"),
    "no checkpoints": (lambda f: shutil.rmtree(f.files.checkpoints), "", ""),
    "checkpoints are a file": (lambda f: swap(f.files.checkpoints, Path.touch), None, "File exists"),
    "no config": (lambda f: f.files.config.unlink(), None, "is missing or damaged"),
    "an empty config": (lambda f: f.files.config.write_bytes(b""), None, "is missing or damaged"),
    "a config that is no text": (lambda f: f.files.config.write_bytes(b"\xff\0"), None, "is missing or damaged"),
    "a changed config": (lambda f: rewrite(f.files.config, "seed: 0", "seed: 7"), None, "seed was 7 and is 0"),
    "no metrics": (lambda f: f.files.metrics.unlink(), "lacks 2 of 2 steps", ""),
    "half a line": (lambda f: f.files.metrics.write_bytes(f.files.metrics.read_bytes()[:20]), "lacks 2 of 2", ""),
    "metrics that are no text": (lambda f: f.files.metrics.write_bytes(b"\xff\n\0\n"), "lacks 2 of 2", ""),
    "metrics are a folder": (lambda f: swap(f.files.metrics, Path.mkdir), None, "is in the way of a folder"),
    "half an embedding": (lambda f: f.files.embedding.write_bytes(b"half"), "", ""),
    "half a manifest": (lambda f: manifest(f, b'{"config": {'), "", ""),
    "another's manifest": (lambda f: manifest(f, PUBLISHED), None, "lr was 0.5 and is"),
    "a lock that is a folder": (lambda f: swap(f.files.lock, Path.mkdir), None, "cannot be written"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_folders(damage: str, original: Path, make_config: MakeConfig, tmp_path: Path) -> None:
    shutil.copytree(original / "stopped", tmp_path / "runs")
    config: TrainConfig = replace(make_config(**QUICK), resume=True)
    change_folder, noted, refused = DAMAGE[damage]
    change_folder(RunFolder(config))
    console = Notes()
    if noted is None:
        with pytest.raises((BadInput, OSError), match=refused.replace(".", r"\.")) as problem:
            train(config, console=console)
        assert "\n" not in str(problem.value)
        assert not (tmp_path / "runs" / "my-cat" / "my-cat.safetensors").exists()
        return
    train(config, console=console)
    assert noted in "\n".join(console.lines)
    assert bool(noted) == bool(console.lines)
    for name in ("my-cat.safetensors", f"checkpoints/step-{NEWEST + 1:06d}.safetensors"):
        found, wanted = (folder / "my-cat" / name for folder in (tmp_path / "runs", original / "whole"))
        assert found.read_bytes() == wanted.read_bytes()
    with safe_open(found, "pt") as file:
        assert json.loads(file.metadata()["info"])["step"] == NEWEST + 1
