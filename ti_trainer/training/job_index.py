"""index.html of a job with many concepts: a page over the pages of its runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from ..config.config import TrainConfig
from ..errors import BadInput
from ..files.wording import printable, told
from ..reports.run_report import IndexEntry, render_index
from ..runs.storage import Storage
from .console import Console
from .pace import Pace

NAME = "index.html"
PAUSE = 10.0  # seconds between two pages at least,
SHARE = 0.02  # and of the time that writing them may take


class JobIndex:
    """Writes a page into each output of a job, from its manifest and from what this process knows."""

    def __init__(self, configs: Sequence[TrainConfig], console: Console) -> None:
        self.outputs = list(dict.fromkeys(config.output for config in configs if config.plots))
        self.console = console
        self.pace = Pace(PAUSE, SHARE)

    def write_now_and_then(self, learning: Iterable[TrainConfig], failures: Mapping[str, Exception]) -> None:
        """Write the pages while the job goes on, where the last ones are old enough."""
        if self.pace.is_due:
            self.write(learning, failures)

    def write(self, learning: Iterable[TrainConfig], failures: Mapping[str, Exception]) -> None:
        """Write the pages; learning: what this process is at; failures: by the name of the run.

        A page that cannot be written is told, and stops nothing: all that was learned lies in the folders of the runs.
        """
        configs = list(learning)
        with self.pace.doing():
            for output in self.outputs:
                entries = {name: failed(name, told(problem)) for name, problem in failures.items()}
                entries |= {each.run_name: in_progress(each) for each in configs if each.output == output}
                try:
                    write_index(output, entries)
                except (BadInput, OSError) as problem:
                    self.console.note(f"{NAME} of {printable(output)} was not written: {told(problem)}")


def write_index(output: str, entries: dict[str, IndexEntry]) -> None:
    """The page of an output; entries: of what is not published, by the name of the run."""
    storage = Storage(output)
    manifest = storage.manifest()  # others at work on this output may have published, and failed
    known = {name: failed(name, str(entry.get("reason"))) for name, entry in manifest.failed.items()}
    known |= entries | {name: finished(name, entry) for name, entry in manifest.published.items()}
    page = render_index(PurePosixPath(output).name or output, [known[name] for name in sorted(known)])
    storage.write_file(NAME, page.encode())


def failed(name: str, reason: str) -> IndexEntry:
    return IndexEntry(printable(name), printable(name), "failed", reason, False)


def in_progress(config: TrainConfig) -> IndexEntry:
    return IndexEntry(config.run_name, config.concept.trigger, "learning", f"{config.steps} steps", config.plots)


def finished(name: str, entry: Mapping[str, Any]) -> IndexEntry:
    """entry: of the manifest, which somebody else may have written."""
    settings = entry.get("config")
    settings = settings if isinstance(settings, dict) else {}
    about = f"rows of step {entry.get('best_step')} of {entry.get('step')}, from '{settings.get('init')}'"
    return IndexEntry(name, str(entry.get("token", name)), "finished", printable(about), bool(settings.get("plots")))
