"""How far a job is, on a terminal or in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from tqdm.auto import tqdm
from tqdm.std import tqdm as plain_tqdm

from ..reports.previews import Progress
from .pace import Pace

EVERY = 5.0  # seconds between two lines of a log

# without the rate, and without losses of many concepts, which mean nothing together: it fits 44 columns
OF_CONCEPTS = "{n:.0f}/{total:.0f} concepts {bar} {elapsed}<{remaining}"


class Gauge(Protocol):
    """Shows what is done of what is to be done, and writes texts beside that."""

    def show(self, done: float, total: float) -> None: ...

    def tell(self, losses: Mapping[str, str]) -> None:
        """The latest losses, by name."""

    def drawing(self, what: str, work: int) -> AbstractContextManager[Progress]:
        """Pictures are drawn inside the block, which tells how many of so many denoising steps are done."""

    def say(self, text: str, warns: bool = False) -> None: ...

    def close(self) -> None: ...


class Bar:
    """A bar at the lower end of a terminal or a notebook's cell."""

    def __init__(self, title: str, is_list: bool) -> None:
        self.title = title
        self.stream = sys.stdout
        self.bar_format = OF_CONCEPTS if is_list else None
        self.bar: tqdm | None = None

    def show(self, done: float, total: float) -> None:
        if self.bar is None:
            self.bar = tqdm(total=total, desc=self.title, initial=done, bar_format=self.bar_format, dynamic_ncols=True)
        self.bar.total = total
        self.bar.update(done - self.bar.n)

    def tell(self, losses: Mapping[str, str]) -> None:
        if self.bar is not None and self.bar_format is None:
            self.bar.set_postfix(losses, refresh=False)

    @contextmanager
    def drawing(self, what: str, work: int) -> Iterator[Progress]:
        with tqdm(total=work, desc=what, leave=False) as bar:
            yield bar.update

    def say(self, text: str, warns: bool = False) -> None:
        tqdm.write(text, file=sys.stderr if warns else self.stream)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


class LogLines:
    """A line every few seconds, for logs: what has been written cannot be written over there."""

    def __init__(self, title: str, is_list: bool) -> None:
        self.title = title
        self.unit = "concepts" if is_list else "steps"
        self.stream = sys.stdout
        self.pace = Pace(EVERY, 1.0)
        self.losses: Mapping[str, str] = {}
        self.begun: tuple[float, float] | None = None  # when, by time.perf_counter(), and what was done by then

    def show(self, done: float, total: float) -> None:
        now = time.perf_counter()
        if self.begun is None:
            self.begun = (now, done)
            with self.pace.doing():
                return
        if self.pace.is_due:
            with self.pace.doing():
                self.say(self.line(now, done, total))

    def line(self, now: float, done: float, total: float) -> str:
        """How far it is; now: by time.perf_counter()."""
        assert self.begun is not None
        start, before = self.begun
        parts = [f"{self.title} " * bool(self.title) + f"{done:.0f} of {total:.0f} {self.unit}"]
        rate = (done - before) / max(now - start, 1e-9)
        if rate > 0:
            parts.append(f"{plain_tqdm.format_interval((total - done) / rate)} left")
        if self.unit == "steps":
            parts += [f"{name} {value}" for name, value in self.losses.items()]
        return ", ".join(parts)

    def tell(self, losses: Mapping[str, str]) -> None:
        self.losses = losses

    def drawing(self, what: str, work: int) -> AbstractContextManager[Progress]:
        return nullcontext(lambda count: None)

    def say(self, text: str, warns: bool = False) -> None:
        print(text, file=sys.stderr if warns else self.stream, flush=True)

    def close(self) -> None: ...


def is_seen_live() -> bool:
    """Whether what is written can be written over: on a terminal, and in notebooks that can."""
    return sys.stderr.isatty() or any(kind.__module__ == "tqdm.notebook" for kind in tqdm.__mro__)
