import os
import signal
import threading

import pytest

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
