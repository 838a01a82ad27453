"""What is said of a run, and to whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.running import MakeConfig, MakeTwo
from ti_trainer import BadInput, Concept, train, train_all
from ti_trainer.errors import Incomplete
from ti_trainer.reports.previews import Progress
from ti_trainer.runs.folder import RunFolder
from ti_trainer.training.console import Silence, SingleTerminal, Terminal, describe_plan
from ti_trainer.training.learner import Learner
from ti_trainer.training.memory.plan import MemoryPlan


class Listening(Silence):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def begin(self, learner: Learner, plan: MemoryPlan) -> None:
        self.calls.append(("begin", learner.data.token))

    def advance(self) -> None:
        self.calls.append(("advance", None))

    def show(self, lines: Sequence[Mapping[str, Any]]) -> None:
        self.calls.append(("show", [line["step"] for line in lines]))

    def finished(self, learner: Learner, folder: RunFolder, peak: int) -> None:
        self.calls.append(("finished", folder.name))

    def failed(self, name: str, problem: Exception, columns: Mapping[str, Any] | None = None) -> None:
        self.calls.append(("failed", (name, str(problem))))

    def close(self) -> None:
        self.calls.append(("close", None))


def test_a_console_of_ones_own(make_config: MakeConfig, capfd: pytest.CaptureFixture[str]) -> None:
    console = Listening()
    train(make_config(steps=2, validate_every=0), console=console)
    assert console.calls == [
        ("begin", "<my-cat>"),
        ("advance", None),
        ("show", [1]),
        ("advance", None),
        ("show", [2]),
        ("finished", "my-cat"),
        ("close", None),
    ]
    assert capfd.readouterr() == ("", "")


class Reading:
    """A gauge that keeps what it shows."""

    def __init__(self, title: str, is_list: bool) -> None:
        self.shown: list[tuple[float, float]] = []

    def show(self, done: float, total: float) -> None:
        self.shown.append((done, total))

    def tell(self, losses: Mapping[str, str]) -> None: ...

    def drawing(self, what: str, work: int) -> AbstractContextManager[Progress]:
        return nullcontext(lambda count: None)

    def say(self, text: str, warns: bool = False) -> None: ...

    def close(self) -> None: ...


def test_a_list_is_counted_in_concepts(make_two: MakeTwo, tmp_path: Path) -> None:
    """What has failed counts too, and an early stop is an end: the learning rate of 0 makes neither better."""
    console = Terminal(0.0, Reading)
    cat, dog = make_two(steps=30, lr=0.0, validate_every=2, early_stop=2)
    bad = replace(cat, concept=Concept("<bad>", str(tmp_path / "nothing")))
    with pytest.raises(Incomplete, match="1 of 3 concepts failed"):
        train_all([cat, bad, dog], console=console)
    assert isinstance(console.gauge, Reading)
    shown = console.gauge.shown
    assert [done for done, _ in shown] == sorted(done for done, _ in shown)
    assert {total for _, total in shown} == {3}
    assert any(done == pytest.approx(1 + 2 / 30) for done, _ in shown)  # the bad one, and a step of both others
    assert shown[-1] == (3, 3)
    assert len(shown) < 60
    with pytest.raises(Incomplete):
        train_all([replace(config, resume=True) for config in (cat, bad, dog)], console=console)
    assert console.gauge.shown[-1] == (6, 6)
    assert console.at_work == {}


def test_a_run_is_counted_in_steps(make_config: MakeConfig) -> None:
    console = SingleTerminal(0.0, Reading)
    train(make_config(steps=30, lr=0.0, validate_every=2, early_stop=2), console=console)
    assert isinstance(console.gauge, Reading)
    assert console.gauge.shown[:2] == [(0, 30), (1, 30)]
    assert console.gauge.shown[-1] == (30, 30)


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
