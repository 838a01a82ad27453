"""What a run says on the terminal: the bar, notes, and what is finished."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tqdm import tqdm

from ..reports.texts import how_to_use
from ..runs.folder import RunFolder
from .learner import Learner


class Console:
    """One bar for the steps of all concepts; silent in all processes but the first."""

    def __init__(self, started: float, many: bool, speaks: bool) -> None:
        self.started, self.many, self.speaks = started, many, speaks
        self.bar: tqdm | None = None
        self.shown: dict[str, str] = {}

    def begin(self, learner: Learner) -> None:
        """A concept has come in, perhaps with steps that were done before."""
        if self.bar is None:
            name = "concepts" if self.many else learner.data.token
            self.bar = tqdm(total=0, desc=name, initial=learner.step, disable=not self.speaks)
        else:
            self.bar.update(learner.step)
        self.bar.total = (self.bar.total or 0) + learner.config.steps

    def advance(self, steps: int) -> None:
        if self.bar is not None:
            self.bar.update(steps)

    def say(self, text: str) -> None:
        if self.speaks:
            tqdm.write(text)

    def notes(self, warnings: Sequence[str]) -> None:
        for warning in warnings if self.speaks else ():
            tqdm.write(f"note: {warning}", file=sys.stderr)

    def show(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """The latest figures, behind the bar; lines: of metrics.jsonl."""
        for name in ("loss", "validation_loss"):
            values = [line[name] for line in lines if name in line]
            if values:
                self.shown[name.removesuffix("_loss")] = f"{values[-1]:.5f}"
        if self.bar is not None:
            self.bar.set_postfix(self.shown, refresh=False)

    def tell(self, learner: Learner, folder: RunFolder, peak: int) -> None:
        """That a concept is finished, and where it is; peak: bytes of memory that this process took."""
        concept, seconds = learner.config.concept, time.perf_counter() - self.started
        if self.many:
            self.say(f"{folder.name}: rows of step {learner.best_step} in {folder.place(folder.embedding)}")
            return
        self.close()
        memory = f" with {peak / 2**30:.1f} GiB of memory" if peak else ""
        self.say(f"\nlearned in {seconds:.0f} s{memory}; everything is in {folder.location}")
        if learner.config.plots:
            self.say(f"before and after:  {folder.place(folder.before_after)}")
        self.say(f"\n{concept.trigger}  (rows of step {learner.best_step})")
        self.say("\n".join(how_to_use(concept, folder, learner.session.family)))

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
