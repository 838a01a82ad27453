import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.running import MakeConfig
from ti_trainer import Run, train
from ti_trainer.errors import Interrupted
from ti_trainer.runs.folder import RunFolder
from ti_trainer.training.events import Event
from ti_trainer.training.signals import StopSignals

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


def handlers() -> list:
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_is_remembered(number: int) -> None:
    before = handlers()
    with StopSignals() as signals:
        assert signals.received is None
        os.kill(os.getpid(), number)
        assert signals.received == number
    assert handlers() == before


def test_second_interrupt_acts_at_once() -> None:
    before = handlers()
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.received == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert handlers() == before


def test_second_termination_changes_nothing() -> None:
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == signal.SIGTERM


def test_handlers_come_back_after_an_error() -> None:
    before = handlers()
    with pytest.raises(RuntimeError, match="boom"), StopSignals():
        raise RuntimeError("boom")
    assert handlers() == before


def test_outside_the_main_thread() -> None:
    """A notebook or a web page trains in a thread, which may not set handlers."""
    before, seen = handlers(), []

    def work() -> None:
        with StopSignals() as signals:
            seen.append((signals.received, handlers() == before))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(None, True)]
    assert handlers() == before


def test_a_flag_of_another_thread(make_config: MakeConfig, finished_run: Run) -> None:
    """The run ends as on SIGINT, with everything saved, and goes on to the same bytes."""
    stop = threading.Event()
    config = make_config()

    def set_flag(event: Event) -> None:
        if event.kind == "step" and event.step == 3:
            threading.Thread(target=stop.set).start()
            stop.wait()

    with pytest.raises(Interrupted, match=r"stopped after step \d of 8") as interrupt:
        train(config, [set_flag], stop=stop)
    assert interrupt.value.signal_number == 0
    steps = RunFolder(config).checkpoints.steps()
    assert 3 <= steps[-1] < 8
    with pytest.raises(Interrupted):  # still set: one step at most
        train(replace(config, resume=True), stop=stop)
    stop.clear()
    again = train(replace(config, resume=True), stop=stop)
    assert Path(again.embedding).read_bytes() == Path(finished_run.embedding).read_bytes()


def test_in_a_thread_of_its_own(make_config: MakeConfig) -> None:
    """Where no handlers can be set, as in the workers of a web page."""
    runs: list[Run] = []
    worker = threading.Thread(target=lambda: runs.append(train(make_config(steps=2, plots=False))))
    worker.start()
    worker.join()
    assert [len(run.history) for run in runs] == [2]
