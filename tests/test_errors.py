"""What Python code and a shell get when a run ends early."""

from __future__ import annotations

import pickle
import signal

import pytest

from ti_trainer import BadInput, Diverged, Incomplete, Interrupted
from ti_trainer.cli import COMMANDS, main


@pytest.mark.parametrize(
    ("problem", "status", "printed"),
    [
        (BadInput("--lr is -1; choose a number above 0"), 2, "error: --lr is -1; choose a number above 0\n"),
        (Diverged("the loss became NaN"), 1, "error: the loss became NaN\n"),
        (Incomplete("1 of 2 concepts failed"), 1, "error: 1 of 2 concepts failed\n"),
        (Interrupted("stopped after step 3", signal.SIGINT), 130, "\nstopped after step 3\n"),
        (Interrupted("stopped after step 3", signal.SIGTERM), 143, "\nstopped after step 3\n"),
    ],
)
def test_exit_status_of_each(
    problem: Exception, status: int, printed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As shells count: 128 and the signal's number for what a signal has stopped."""

    def run(options: object) -> None:
        raise problem

    monkeypatch.setattr(COMMANDS["inspect"], "run", run)
    assert main(["inspect", "x.safetensors"]) == status
    assert capsys.readouterr().err == printed


@pytest.mark.parametrize("rank", [0, 3])
def test_of_several_processes_one_speaks(
    rank: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All fail in the same way, but for Incomplete: each knows only the concepts that were its own."""
    monkeypatch.setenv("RANK", str(rank))
    for problem, everybody in ((BadInput("bad"), False), (Diverged("nan"), False), (Incomplete("some"), True)):

        def run(options: object, problem: Exception = problem) -> None:
            raise problem

        monkeypatch.setattr(COMMANDS["inspect"], "run", run)
        main(["inspect", "x.safetensors"])
        assert bool(capsys.readouterr().err) == (everybody or rank == 0)


def test_families_of_exceptions() -> None:
    """Notebooks that know only Python's own exceptions catch the right ones."""
    assert issubclass(BadInput, ValueError)
    assert all(issubclass(kind, RuntimeError) for kind in (Diverged, Incomplete, Interrupted))
    assert not issubclass(Interrupted, KeyboardInterrupt)


def test_signal_is_known() -> None:
    assert Interrupted("stopped", 15).signal_number == 15
    assert str(Interrupted("stopped", 15)) == "stopped"
    assert str(pickle.loads(pickle.dumps(BadInput("bad")))) == "bad"
