"""What has become of the concepts of an output: a file for each, OUTPUT/manifest/NAME.json.

One JSON object on one line, written last, whole or not at all, so that `cat manifest/*.json` is the list of what is
published and of what failed, and a rerun does the rest. `status` says which; what has none is published.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import BadInput
from ..files.folder_names import MANIFEST, NAME, name_problem
from ..files.wording import flag, printable

FAILED = "failed"  # the status of what was not learned; everything else is published
RECORD = re.compile(rf"{NAME.pattern}(,\d+)?")  # of a run, or of a row that cannot be one: "orders.jsonl,7"


@dataclass(frozen=True)
class Manifest:
    """What has become of the concepts of an output: name -> entry."""

    published: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    failed: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, lines: Mapping[str, bytes]) -> Manifest:
        """From the lines by their names; damaged ones are as if absent."""
        parsed = {name: parse(line) for name, line in sorted(lines.items()) if RECORD.fullmatch(name)}
        entries = {name: entry for name, entry in parsed.items() if entry is not None}
        failed = {name: entry for name, entry in entries.items() if entry.get("status") == FAILED}
        return cls({name: entry for name, entry in entries.items() if name not in failed}, failed)


def line_of(name: str) -> str:
    """The file of a concept's line; raises BadInput for what cannot be the name of a concept's folder."""
    problem = name_problem(name)
    if problem:
        raise BadInput(f"'{printable(name)}' {problem}; choose another {flag('token')} or {flag('name')}")
    return f"{MANIFEST}/{name}.json"


def as_line(entry: Mapping[str, Any]) -> bytes:
    """A line of the manifest; numbers that JSON does not have become null."""
    return json.dumps(finite(entry), allow_nan=False).encode() + b"\n"


def parse(line: bytes) -> dict[str, Any] | None:
    """A line of the manifest; None for one that was cut short or is no JSON object."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def finite(value: Any) -> Any:
    """The value with None for numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
