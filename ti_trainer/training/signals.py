"""The wish to stop, by SIGINT or SIGTERM or from another thread, which the loop grants at the end of a step."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Protocol


class Flag(Protocol):
    """`threading.Event` is one."""

    def is_set(self) -> bool: ...


class StopSignals:
    """Inside the block the first SIGINT or SIGTERM is remembered in `received`; a second SIGINT acts at once."""

    def __init__(self, stop: Flag | None = None) -> None:
        """stop: what another thread sets when the run is to end."""
        self.stop = stop
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    @property
    def is_wished(self) -> bool:
        """Whether somebody wants the run to end."""
        return self.received is not None or (self.stop is not None and self.stop.is_set())

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():  # nobody else may set handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number
