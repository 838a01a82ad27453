"""index.html of a job with many concepts: a page over the pages of its runs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from ..config.config import TrainConfig
from ..errors import BadInput
from ..files.wording import printable, told
from ..reports.run_report import IndexEntry, render_index
from ..runs.storage import Storage
from .console import Console

NAME = "index.html"
PAUSE = 10.0  # seconds between two pages at least,
SHARE = 0.02  # and of the time that writing them may take


class JobIndex:
    """Writes a page into each output of a job, from its manifest and from what this process knows."""

    def __init__(self, configs: Sequence[TrainConfig], console: Console) -> None:
        self.outputs = list(dict.fromkeys(config.output for config in configs if config.plots))
        self.console = console
        self.written = 0.0  # by time.perf_counter()
        self.seconds = 0.0  # that the last pages took

    def write_now_and_then(self, learning: Iterable[TrainConfig], failures: Mapping[str, Exception]) -> None:
        """Write the pages while the job goes on, where the last ones are old enough."""
        if time.perf_counter() - self.written >= max(PAUSE, self.seconds / SHARE):
            self.write(learning, failures)

    def write(self, learning: Iterable[TrainConfig], failures: Mapping[str, Exception]) -> None:
        """Write the pages; learning: what this process is at; failures: by the name of the run.

        A page that cannot be written is told, and stops nothing: all that was learned lies in the folders of the runs.
        """
        begun = time.perf_counter()
        configs = list(learning)
        for output in self.outputs:
            entries = {name: failed(name, problem) for name, problem in failures.items()}
            entries |= {each.run_name: in_progress(each) for each in configs if each.output == output}
            try:
                storage = Storage(output)
                entries |= {name: finished(name, entry) for name, entry in storage.published().items()}
                page = render_index(PurePosixPath(output).name or output, [entries[name] for name in sorted(entries)])
                storage.write_file(NAME, page.encode())
            except (BadInput, OSError) as problem:
                self.console.note(f"{NAME} of {printable(output)} was not written: {told(problem)}")
        self.written = time.perf_counter()
        self.seconds = self.written - begun


def failed(name: str, problem: Exception) -> IndexEntry:
    return IndexEntry(printable(name), printable(name), "failed", told(problem), False)


def in_progress(config: TrainConfig) -> IndexEntry:
    return IndexEntry(config.run_name, config.concept.trigger, "learning", f"{config.steps} steps", config.plots)


def finished(name: str, entry: Mapping[str, Any]) -> IndexEntry:
    """entry: of the manifest, which somebody else may have written."""
    settings = entry.get("config")
    settings = settings if isinstance(settings, dict) else {}
    about = f"rows of step {entry.get('best_step')} of {entry.get('step')}, from '{settings.get('init')}'"
    return IndexEntry(name, str(entry.get("token", name)), "finished", printable(about), bool(settings.get("plots")))
