"""A list of concepts, or a folder of such lists, that may grow while it is worked on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import BadInput
from ..files.reach import Reach
from ..files.wording import flag, printable
from .concept_lists import READERS, Row, read_concepts, recordable
from .config import TrainConfig
from .row_limits import NO_LIMITS, RowLimits
from .rows import Owner, Refusal, configs_of_rows, notes_on_columns
from .together import Together

PAUSE = 1.0  # seconds; what is new is taken at the second look after its last change


@dataclass(frozen=True)
class Arrived:
    """What has come since the last look."""

    configs: Sequence[TrainConfig] = ()
    refused: Sequence[Refusal] = ()
    notes: Sequence[str] = ()


@dataclass
class Known:
    """What is known of a list."""

    state: tuple[int, int] = (-1, -1)  # size and time of change when it was looked at last
    read: tuple[int, int] = (-1, -1)  # the same when it was read last
    rows: int = 0  # that were taken


@dataclass
class Inbox:
    """The concepts of `path`, a list or a folder of lists, as configs. A row is taken once.

    grows: rows may be appended and lists added later; then a list is read when it is as it was at the look before, so
    that nothing is taken of which the end is still to be written.
    """

    path: str
    values: Mapping[str, Any]  # of whoever trains, as the other two
    flags: Mapping[str, Any]
    trusted_roots: Sequence[str] = ()
    trusted_hosts: Sequence[str] = ()
    limits: RowLimits = NO_LIMITS
    grows: bool = False
    known: dict[Path, Known] = field(default_factory=dict)
    job: Together = field(default_factory=Together)

    @cached_property
    def example(self) -> TrainConfig:
        """A config with what all rows have in common; raises BadInput where whoever trains has said something wrong."""
        return self.owner.check(has_pictures=True)

    @property
    def is_open(self) -> bool:
        """Whether more may come."""
        return self.grows

    @property
    def pause(self) -> float:
        """Seconds between two looks at least."""
        return PAUSE

    def take(self) -> Arrived:
        """What is new. Raises BadInput for a list that does not grow and cannot be read, and as `Owner.check` does."""
        rows: list[Row] = []
        refused: list[Refusal] = []
        for file in self.files():
            try:
                rows += self.rows_of(file)
            except OSError:
                if not self.grows:
                    raise
                continue  # it has gone, or its disk has; what was taken of it is not taken again when it is back
            except BadInput as problem:
                if not self.grows:
                    raise
                refused.append(Refusal(printable(file), problem, f"{recordable(file)},0", self.example.output))
        if not rows:
            return Arrived(refused=tuple(refused))
        configs, others = configs_of_rows(rows, self.owner, self.job)
        return Arrived(configs, [*refused, *others], notes_on_columns(rows))

    @property
    def owner(self) -> Owner:
        folder = self.folder
        reach = Reach.within([folder, *self.trusted_roots], self.trusted_hosts)
        return Owner(self.values, self.flags, folder, reach, self.limits)

    @property
    def folder(self) -> Path:
        """To which paths of rows are relative."""
        return Path(self.path) if os.path.isdir(self.path) else Path(self.path).parent

    def files(self) -> list[Path]:
        """The lists, as far as they are there; a list that does not grow is said to be missing when it is read."""
        if os.path.isdir(self.path) and Path(self.path).suffix.lower() not in READERS:
            found = sorted(Path(self.path) / name for name in os.listdir(self.path) if not name.startswith("."))
            lists = [file for file in found if file.suffix.lower() in READERS and file.is_file()]
            if not (lists or self.grows):
                raise BadInput(f"{flag('concepts', self.path)} has no lists in it; give {', '.join(READERS)} files")
            return lists
        return [] if self.grows and not os.path.exists(self.path) else [Path(self.path)]

    def rows_of(self, file: Path) -> list[Row]:
        """The rows of a list that were not there before."""
        if not self.grows:
            return read_concepts(str(file))
        known = self.known.setdefault(file, Known())
        status = file.stat()
        state = (status.st_size, status.st_mtime_ns)
        is_settled, known.state = state == known.state, state
        if not is_settled or state == known.read or not status.st_size:
            return []
        known.read = state
        rows = read_concepts(str(file))
        new = rows[known.rows :]
        known.rows = max(known.rows, len(rows))
        return new
