"""Concepts whose turn comes next are read by a thread, while the device trains others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from itertools import islice
from queue import SimpleQueue
from typing import Any

from ..config.config import TrainConfig
from ..data.latents import CachedView
from ..data.scanning import Progress
from ..families import Family
from .gathering import Gathered, gather

MOST = 16  # concepts that are read ahead
PATIENCE = 10.0  # seconds that the end of a job waits for the picture that is being read
PIXELS = 2**23  # of a concept, that are cut out ahead: 8 views of 1024 x 1024


class Prefetch:
    """Gathers concepts ahead. What goes wrong is raised where a concept is taken; what was not taken is closed.

    Only pictures and captions are read here: tokenizers are no thread's but their own.
    """

    def __init__(self) -> None:
        self._closed = threading.Event()
        self._work: SimpleQueue[tuple[TrainConfig, Callable[[], Family], Future[Gathered]] | None] = SimpleQueue()
        self._started: dict[int, tuple[TrainConfig, Future[Gathered]]] = {}  # by the config's id: it may be any
        self._thread: threading.Thread | None = None

    def start(self, configs: Iterable[TrainConfig], load: Callable[[], Family]) -> None:
        """Read the first of those that wait, unless that has been begun; load: gives the model, which is there."""
        for config in islice(configs, MOST):
            if id(config) not in self._started:
                future: Future[Gathered] = Future()
                self._started[id(config)] = (config, future)
                self._work.put((config, load, future))
                if self._thread is None:
                    # a daemon: nobody waits for ever for a server that does not answer, and it writes nothing
                    self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)
                    self._thread.start()

    def take(self, config: TrainConfig) -> Gathered | None:
        """What was gathered for a config, when it is whole; None where that has not been begun. Raises as `gather`."""
        _, future = self._started.pop(id(config), (config, None))
        if future is None or future.cancel():  # it has not come so far: whoever asks is quicker
            return None
        return future.result()

    def drop(self, config: TrainConfig) -> None:
        """Give up what was gathered for a config, or is being gathered, unless it was taken."""
        _, future = self._started.pop(id(config), (config, None))
        if future:
            future.cancel()
            future.add_done_callback(close_gathered)

    def close(self) -> None:
        """Begin nothing any more, and give up what was not taken."""
        self._closed.set()
        for config, _ in list(self._started.values()):
            self.drop(config)
        if self._thread:
            self._work.put(None)
            # an interpreter that ends while a thread of its is within torch is ended by it, with SIGABRT
            self._thread.join(PATIENCE)
            self._thread = None

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            config, load, future = item
            if future.set_running_or_notify_cancel():
                try:
                    found = gather_ahead(config, load, self._unless_closed)
                except BaseException as problem:
                    future.set_exception(problem)
                else:
                    future.set_result(found)

    def _unless_closed(self, things: Iterable[Any], count: int) -> Iterator[Any]:
        """The things one after the other, until nobody wants them any more."""
        for each in things:
            if self._closed.is_set():
                raise CancelledError
            yield each


def gather_ahead(config: TrainConfig, load: Callable[[], Family], progress: Progress) -> Gathered:
    """Gather, and cut out as many views as PIXELS allow, so that only the VAE is left to be run.

    progress: what all that takes time goes through, and may be ended by.
    """
    found = gather(config, load, progress)
    room = PIXELS
    for example, shown in progress(zip(found.examples, found.views, strict=True), len(found.examples)):
        views = {cached.view: cached for cached in shown}
        room -= sum(map(pixels_of, views.values()))
        if room < 0:
            break
        found.encoder.cut_ahead(example.picture, views)
    return found


def pixels_of(cached: CachedView) -> int:
    width, height = cached.view.size
    return width * height


def close_gathered(future: Future[Gathered]) -> None:
    """Delete the copies of what nobody wants any more."""
    with suppress(BaseException):
        future.result().close()
