"""How often something is done again that takes a while, such as writing a page."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Pace:
    """Something is due where the last time is long enough ago for it to take no more than a share of the time."""

    def __init__(self, pause: float, share: float) -> None:
        """pause: seconds between two times at least; share: of the time, that doing it may take."""
        self.pause = pause
        self.share = share
        self._done = float("-inf")  # by time.perf_counter()
        self._seconds = 0.0  # that it took the last time

    @property
    def is_due(self) -> bool:
        return time.perf_counter() - self._done >= max(self.pause, self._seconds / self.share)

    @contextmanager
    def doing(self) -> Iterator[None]:
        """It is done inside the block."""
        begun = time.perf_counter()
        yield
        self._done = time.perf_counter()
        self._seconds = self._done - begun
