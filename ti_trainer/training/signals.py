"""The wish to stop, by a signal or from another thread: when it is granted, and what a second one does."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

# Ctrl-C; what launchers and `kill` send; what a terminal sends that is closed
NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Flag(Protocol):
    """`threading.Event` is one."""

    def is_set(self) -> bool: ...


class StopNow(KeyboardInterrupt):
    """A signal has come where nothing is worth waiting for."""


class StopSignals:
    """Inside the block the first signal is remembered in `received`, and the loop grants it at the end of a step.

    A second SIGINT goes to whoever handled it before: in Python it raises KeyboardInterrupt. SIGHUP stays ignored where
    it is, as under `nohup`.
    """

    def __init__(self, stop: Flag | None = None) -> None:
        """stop: what another thread sets when the run is to end."""
        self.stop = stop
        self.received: int | None = None
        self._acts_at_once = False
        self._previous: dict[int, Any] = {}
        self._terminals: list[int] = []

    @property
    def is_wished(self) -> bool:
        """Whether somebody wants the run to end."""
        return self.received is not None or (self.stop is not None and self.stop.is_set())

    @contextmanager
    def acting_at_once(self) -> Iterator[None]:
        """Inside the block the first signal raises StopNow, and one that has come already does at its beginning."""
        self._acts_at_once = True
        try:
            if self.received is not None:
                raise StopNow
            yield
        finally:
            self._acts_at_once = False

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():  # nobody else may set handlers
            self._terminals = [number for number in (1, 2) if os.isatty(number)]
            for number in NUMBERS:
                if signal.getsignal(number) is not signal.SIG_IGN or number != getattr(signal, "SIGHUP", None):
                    self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            before: Callable[..., object] | None = self._previous[number]
            if number == signal.SIGINT and callable(before):
                before(number, frame)
            return
        self.received = number
        leave_lost(self._terminals)
        if self._acts_at_once:
            raise StopNow


def leave_lost(terminals: list[int]) -> None:
    """Send what is still said to terminals that were closed to nowhere: they answer each write with an error."""
    lost = [number for number in terminals if not os.isatty(number)]
    if lost:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for number in lost:
            os.dup2(nowhere, number)
        os.close(nowhere)
