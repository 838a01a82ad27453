"""docs/licences.md has every package that the trainer is installed with."""

from __future__ import annotations

import re
from importlib.metadata import requires
from pathlib import Path


def test_every_dependency_is_listed() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "licences.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| ([a-z][\w-]*) ?(?:\(extra\) )?\|", page, re.MULTILINE)) - {"package"}
    wanted = [line for line in requires("ti-trainer") or () if 'extra == "dev"' not in line.replace("'", '"')]
    assert listed == {re.split(r"[^\w-]", line)[0].lower() for line in wanted}
