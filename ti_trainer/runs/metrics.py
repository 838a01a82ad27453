"""metrics.jsonl: a line of JSON for each step."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..files.atomic import write_bytes


class Metrics:
    """The lines of a run's metrics.jsonl."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self, last_step: int | None = None) -> list[dict[str, Any]]:
        """The lines up to a step."""
        lines = parse_metrics(self.file.read_bytes()) if self.file.exists() else ()
        return [record for record in lines if last_step is None or record["step"] <= last_step]

    def rewrite(self, records: Sequence[dict[str, Any]]) -> None:
        """These lines and no others."""
        write_bytes("".join(json.dumps(record) + "\n" for record in records).encode(), self.file)

    def append(self, records: Sequence[dict[str, Any]]) -> None:
        with self.file.open("a") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)

    def sync(self) -> None:
        """Force the lines to the disk: a checkpoint is not to outlive those of its steps."""
        with self.file.open("ab") as file:
            os.fsync(file.fileno())


def parse_metrics(content: bytes) -> Iterator[dict[str, Any]]:
    """The lines of a file; one that a kill cut short, or that is damaged, is no line."""
    for line in content.split(b"\n"):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and isinstance(record.get("step"), int):
            yield record
