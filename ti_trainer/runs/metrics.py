"""metrics.jsonl: a line of JSON for each step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..files.atomic import write_bytes


class Metrics:
    """The lines of a run's metrics.jsonl."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self, last_step: int | None = None) -> list[dict[str, Any]]:
        """The lines up to a step; a line that a kill cut short is no line."""
        records = []
        for line in self.file.read_text().splitlines() if self.file.exists() else ():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if last_step is None or record["step"] <= last_step:
                records.append(record)
        return records

    def rewrite(self, records: Sequence[dict[str, Any]]) -> None:
        """These lines and no others."""
        write_bytes("".join(json.dumps(record) + "\n" for record in records).encode(), self.file)

    def append(self, records: Sequence[dict[str, Any]]) -> None:
        with self.file.open("a") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
