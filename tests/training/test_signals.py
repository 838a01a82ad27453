import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ti_trainer.training.admission
import ti_trainer.training.shared_model
from tests.running import MakeConfig, MakeTwo
from ti_trainer import Run, train, train_all
from ti_trainer.errors import Interrupted
from ti_trainer.runs.folder import RunFolder
from ti_trainer.training.events import Event
from ti_trainer.training.signals import StopNow, StopSignals

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


@pytest.fixture(autouse=True)
def _terminal_may_close() -> Iterator[None]:
    """SIGHUP is not ignored, even where the tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def handlers() -> list:
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
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


def test_second_interrupt_is_for_whoever_was_there_before() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        with StopSignals():
            os.kill(os.getpid(), signal.SIGTERM)
            assert heard == []
            os.kill(os.getpid(), signal.SIGINT)
        assert heard == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_hang_up_stays_ignored_where_it_is() -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.received is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_is_not_worth_waiting_for() -> None:
    """The first signal ends such a block, in it or before it; later ones change nothing more."""
    with StopSignals() as signals:
        with signals.acting_at_once():
            pass
        with pytest.raises(StopNow), signals.acting_at_once():
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(StopNow), signals.acting_at_once():
            pytest.fail("the block was entered")
        assert signals.received == signal.SIGTERM


CLOSED_TERMINAL = """
import signal, sys, time
from pathlib import Path
from ti_trainer.training.signals import StopSignals

with StopSignals() as signals:
    print("ready", flush=True)
    while signals.received is None:
        time.sleep(0.01)
    for stream in (sys.stdout, sys.stderr):
        print("saved", file=stream, flush=True)
    Path(sys.argv[1]).write_text(str(signals.received))
"""


def test_a_terminal_that_is_closed(tmp_path: Path) -> None:
    """What is still said then must not end in an error, because everything is saved after it."""
    done = tmp_path / "done"
    ours, theirs = os.openpty()
    start = "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    command = [sys.executable, "-c", start + CLOSED_TERMINAL, str(done)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        assert b"ready" in os.read(ours, 1000)
        os.close(ours)
        assert process.wait(60) == 0
    assert done.read_text() == str(int(signal.SIGHUP))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_loading_stops_at_once(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Nothing has been written, and nothing is waited for."""

    def load(*arguments: object) -> None:
        signal.raise_signal(number)
        pytest.fail("it went on")

    monkeypatch.setattr(ti_trainer.training.shared_model, "load_model", load)
    config = make_config()
    with pytest.raises(Interrupted, match="stopped before a step was taken; to go on, run the same command") as stop:
        train(config)
    assert stop.value.signal_number == number
    assert not Path(config.output).exists()


def test_loading_of_later_concepts_stops_at_once_and_saves_the_others(
    make_two: MakeTwo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal comes while the second concept is made ready: the first has been trained for some steps by then."""
    cat, dog = make_two(steps=4, batch_size=3, checkpoint_every=100, validate_every=2)
    whole = [
        Path(run.embedding).read_bytes() for run in train_all([replace(c, name=f"w{c.run_name}") for c in (cat, dog)])
    ]
    prepare = ti_trainer.training.admission.prepare
    encode = ti_trainer.training.admission.encode_rest

    def stopped(*arguments: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("it went on")

    for name, patched in (("prepare", prepare), ("encode_rest", encode)):
        calls: list[int] = []

        def second_time(*arguments: Any, original: Any = patched, seen: list[int] = calls) -> Any:
            seen.append(1)
            return stopped() if len(seen) == 2 else original(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(ti_trainer.training.admission, name, second_time)
            with pytest.raises(Interrupted, match="everything is saved"):
                train_all([replace(cat, resume=True), replace(dog, resume=True)])
    train_all([replace(cat, resume=True), replace(dog, resume=True)])
    found = [(Path(cat.output) / name / f"{name}.safetensors").read_bytes() for name in ("my-cat", "my-dog")]
    assert found == whole


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
    worker = threading.Thread(target=lambda: runs.append(train(make_config(steps=2))))
    worker.start()
    worker.join()
    assert [len(run.history) for run in runs] == [2]
