"""What is said of a run, and to whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.running import MakeConfig, MakeTwo
from ti_trainer import BadInput, Concept, train, train_all
from ti_trainer.errors import Incomplete
from ti_trainer.runs.folder import RunFolder
from ti_trainer.training.console import Silence, describe_plan
from ti_trainer.training.learner import Learner
from ti_trainer.training.memory.plan import MemoryPlan


class Listening(Silence):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def begin(self, learner: Learner, plan: MemoryPlan) -> None:
        self.calls.append(("begin", learner.data.token))

    def advance(self, steps: int) -> None:
        self.calls.append(("advance", steps))

    def show(self, lines: Sequence[Mapping[str, Any]]) -> None:
        self.calls.append(("show", [line["step"] for line in lines]))

    def finished(self, learner: Learner, folder: RunFolder, peak: int) -> None:
        self.calls.append(("finished", folder.name))

    def failed(self, name: str, problem: Exception) -> None:
        self.calls.append(("failed", (name, str(problem))))

    def close(self) -> None:
        self.calls.append(("close", None))


def test_a_console_of_ones_own(make_config: MakeConfig, capfd: pytest.CaptureFixture[str]) -> None:
    console = Listening()
    train(make_config(steps=2, validate_every=0), console=console)
    assert console.calls == [
        ("begin", "<my-cat>"),
        ("advance", 1),
        ("show", [1]),
        ("advance", 1),
        ("show", [2]),
        ("advance", 0),
        ("finished", "my-cat"),
        ("close", None),
    ]
    assert capfd.readouterr() == ("", "")


def test_steps_that_an_early_stop_leaves_out_are_counted(make_two: MakeTwo) -> None:
    """The bar ends at its total: two concepts of 30 steps, of which the learning rate of 0 makes neither better."""
    console = Listening()
    configs = make_two(steps=30, lr=0.0, validate_every=2, early_stop=2)
    train_all(configs, console=console)
    assert sum(steps for call, steps in console.calls if call == "advance") == 60
    assert len([call for call, _ in console.calls if call == "show"]) < 20


def test_failures_of_a_list_are_said_at_once_and_that_of_a_run_is_raised(make_two: MakeTwo, tmp_path: Any) -> None:
    console = Listening()
    cat, dog = make_two(steps=1)
    bad = replace(cat, concept=Concept("<bad>", str(tmp_path / "nothing")))
    with pytest.raises(Incomplete, match="1 of 3 concepts failed"):
        train_all([cat, bad, dog], console=console)
    (failed,) = [what for call, what in console.calls if call == "failed"]
    assert failed[0] == "bad"
    assert "does not exist" in failed[1]
    with pytest.raises(BadInput, match="does not exist"):
        train(bad, console=Silence())


def test_summary_of_one_run_and_lines_of_a_list(
    make_config: MakeConfig, make_two: MakeTwo, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(make_config(steps=2, name="single"))
    said = capsys.readouterr().out
    for text in (
        "steps of 3",
        "<my-cat>: 4 vectors (init cat), 4 pictures",
        "learned in",
        str(run.embedding),
        "WebUIs",
    ):
        assert text in said
    assert said.count("first step after") == 1
    runs = train_all(make_two(steps=2))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == [
        f"{run.folder.name}: rows of step {run.best_step} in {run.embedding}"
        for run in runs  # type: ignore[union-attr]
    ]
    assert lines[0].startswith("first step after")


def test_plan_in_words() -> None:
    plan = MemoryPlan(micro_batch=3, gradient_checkpointing=True, peak=3 * 2**29, available=2**40)
    assert describe_plan(plan) == "at most 3 pictures at once with gradient checkpointing, about 1.5 GiB of memory"
