"""A studio that wakes when the page is shown already: torch and what stands on it take seconds to load."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from threading import Lock, Timer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .studio import Studio

LATEST = 3.0  # seconds after which it is made also where nobody has asked


class Waking:
    """Stands for a studio that is made when something of it is asked for; whoever asks meanwhile waits."""

    def __init__(self, make: Callable[[], Studio]) -> None:
        self._make = make
        self._lock = Lock()

    def wake(self) -> None:
        """Make it soon."""
        timer = Timer(LATEST, lambda: self.queue)
        timer.daemon = True
        timer.start()

    @cached_property
    def _studio(self) -> Studio:
        return self._make()

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            studio = self._studio
        return getattr(studio, name)
