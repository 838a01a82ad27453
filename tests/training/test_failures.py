"""What goes wrong with one concept of many ends that one alone: before it begins, on the way, and at its end."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from tests.running import MakeConfig, MakeTwo
from ti_trainer import BadInput, TrainConfig, train, train_all
from ti_trainer.config.rows import Refusal
from ti_trainer.errors import Bug, Incomplete
from ti_trainer.runs.checkpoints import Checkpoints
from ti_trainer.runs.folder import RunFolder
from ti_trainer.runs.metrics import Metrics
from ti_trainer.runs.storage import Storage
from ti_trainer.training import preflight
from ti_trainer.training.failures import TRACEBACK, reason_of
from ti_trainer.training.learner import Learner

OTHER = {"steps": 2, "validate_every": 0, "batch_size": 1}


def test_reasons(make_config: MakeConfig) -> None:
    """What is foreseen is told as it is; anything else is a Bug, with the traceback in the run's folder."""
    config = make_config()
    for problem in (BadInput("x"), OSError("y")):
        assert reason_of(problem, config) is problem
    assert not Path(config.output).exists()
    try:
        [].pop()
    except IndexError as error:
        bug = reason_of(error, config)
    file = RunFolder(config).path / TRACEBACK
    assert isinstance(bug, Bug)
    assert str(bug) == (
        "this is a mistake in ti_trainer, please report it (IndexError: pop from empty list); where it happened is "
        f"written in {file}"
    )
    text = file.read_text()
    assert text.startswith("Traceback (most recent call last):")
    assert text.rstrip().endswith("IndexError: pop from empty list")
    assert "written in" not in str(reason_of(RuntimeError("x")))
    Path(config.output, "file").write_text("")
    nowhere = replace(config, output=str(Path(config.output, "file")))
    assert "written in" not in str(reason_of(RuntimeError("x"), nowhere))  # a folder that cannot be


def break_manifest(config: TrainConfig) -> None:
    folder = Path(config.output) / "manifest"
    (folder / f"{config.run_name}.json").write_text(json.dumps({"config": {"steps": [], "init": 5}}))


def break_config(config: TrainConfig) -> None:
    (RunFolder(config).path / "config.yaml").unlink()
    (Path(config.output) / "manifest" / f"{config.run_name}.json").unlink()


def break_date(config: TrainConfig) -> None:
    break_config(config)
    (RunFolder(config).path / "config.yaml").write_text("steps: 2024-99-99\n")


def break_checkpoint(config: TrainConfig) -> None:
    (Path(config.output) / "manifest" / f"{config.run_name}.json").unlink()
    for file in (RunFolder(config).path / "checkpoints").iterdir():
        file.write_bytes(file.read_bytes()[:100])


@pytest.mark.parametrize(
    "damage",
    [break_manifest, break_config, break_date, break_checkpoint],
    ids=lambda each: each.__name__,
)
def test_a_damaged_run_that_is_resumed(make_two: MakeTwo, damage: Callable[[TrainConfig], None]) -> None:
    """The other one takes the steps that it is asked for now."""
    cat, dog = make_two(**OTHER)
    train_all([cat, dog])
    damage(cat)
    more = [replace(config, steps=4, resume=True) for config in (cat, dog)]
    with pytest.raises(Incomplete, match=r"^1 of 2 concepts failed:\n  my-cat: "):
        train_all(more)
    entries = {name: entry["step"] for name, entry in Storage(cat.output).published().items() if "step" in entry}
    assert entries == {"my-dog": 4}


def test_a_dead_output(make_two: MakeTwo, tmp_path: Path) -> None:
    cat, dog = make_two(**OTHER)
    (tmp_path / "file").write_text("")
    for output in ("s3://", "webhdfs://127.0.0.1:1/x", str(tmp_path / "file")):
        with pytest.raises(Incomplete, match=r"^1 of 2 concepts failed:\n  my-cat: "):
            train_all([replace(cat, output=output), replace(dog, overwrite=True)])
        assert Storage(dog.output).published().keys() == {"my-dog"}


PARTS = {
    "at its first step": (Learner, "lengths_of_words"),
    "while lines are written": (Metrics, "append"),
    "while it is saved": (Checkpoints, "save"),
    "while it is published": (RunFolder, "publish"),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_mistake_of_ours(make_two: MakeTwo, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """The first concept that comes by meets it; the next attempt leaves no trace of it."""
    owner, name = PARTS[part]
    original = getattr(owner, name)
    met: list[object] = []

    def fail(self: object, *arguments: object) -> object:
        if not met or met[0] is self:
            met[:] = [self]
            raise ZeroDivisionError("of the test")
        return original(self, *arguments)

    monkeypatch.setattr(owner, name, fail)
    cat, dog = make_two(**OTHER)
    with pytest.raises(Incomplete) as problem:
        train_all([cat, dog])
    monkeypatch.undo()
    head, line = str(problem.value).splitlines()
    file = RunFolder(cat).path / TRACEBACK
    assert head == "1 of 2 concepts failed:"
    assert line.startswith(
        "  my-cat: this is a mistake in ti_trainer, please report it (ZeroDivisionError: of the test)"
    )
    assert str(file) in line
    assert "in fail" in file.read_text()
    assert Storage(cat.output).published().keys() == {"my-dog"}
    assert "my-dog" not in str(problem.value)
    train_all([replace(config, resume=True, retry_failed=True) for config in (cat, dog)])
    assert Storage(cat.output).published().keys() == {"my-cat", "my-dog"}
    assert not file.exists()


def test_a_mistake_of_ours_in_a_single_run_is_raised(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("of the test")

    monkeypatch.setattr(RunFolder, "publish", fail)
    with pytest.raises(ZeroDivisionError, match="of the test"):
        train(make_config(**OTHER))


def test_a_tracker_that_is_not_installed(make_two: MakeTwo, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(preflight, "version", version)
    cat, dog = make_two(**OTHER)
    with pytest.raises(
        Incomplete, match=r'my-cat: report_to="wandb" needs a package .*: pip install wandb, .* \[wandb\]'
    ):
        train_all([replace(cat, report_to="wandb"), dog])
    assert not RunFolder(cat).path.exists()
    assert Storage(cat.output).published().keys() == {"my-dog"}


def test_a_folder_that_holds_a_run(make_two: MakeTwo) -> None:
    cat, dog = make_two(**OTHER)
    train(cat)
    with pytest.raises(Incomplete) as problem:
        train_all([cat, dog])
    assert [line[:40] for line in str(problem.value).splitlines()] == [
        "1 of 2 concepts failed:",
        f"  my-cat: {RunFolder(cat).path}"[:40],
    ]
    assert Storage(cat.output).published().keys() == {"my-cat", "my-dog"}


def test_an_output_that_is_dead_for_all_is_told_once(make_two: MakeTwo, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="a file is in the way of a folder"):
        train_all([replace(config, output=str(tmp_path / "file")) for config in make_two(**OTHER)])


def test_what_was_refused_before_is_counted(make_config: MakeConfig) -> None:
    output = make_config().output
    refused = [
        Refusal("list, line 2", BadInput("bad"), "list,2", output, "<bad>", {"order": 7}),
        Refusal("list, line 3", KeyError("worse"), "list,3", output),
    ]
    with pytest.raises(Incomplete) as problem:
        train_all([make_config(**OTHER)], refused=refused)
    assert str(problem.value).splitlines() == [
        "2 of 3 concepts failed:",
        "  list, line 2: bad",
        "  list, line 3: this is a mistake in ti_trainer, please report it (KeyError: 'worse')",
    ]
    with pytest.raises(BadInput, match=r"^bad$"):
        train_all([], refused=refused[:1])
    failed = Storage(output).manifest().failed
    assert {name: (entry["code"], entry["token"], entry["columns"]) for name, entry in failed.items()} == {
        "list,2": ("bad_input", "<bad>", {"order": 7}),
        "list,3": ("bug", None, {}),
    }
