"""Tell what this machine has, and what would be slow or fail on it."""

from __future__ import annotations

import argparse

from ..errors import Incomplete
from ..files.wording import flag
from .flags import Parser

USAGE = "[--output DIR] [--json]"
EXAMPLE = "ti-trainer doctor --output /data/runs"


def add_flags(parser: Parser) -> None:
    parser.add("--output", metavar="DIR", default="runs", help="where runs are to be written (default: %(default)s)")
    parser.add("--models_dir", metavar="DIR", help="a further folder in which models are looked for")
    parser.add("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> None:
    from ..reports.health import as_json, as_text, look

    found = []
    for finding in look(options.output, options.models_dir):
        found.append(finding)
        if not options.json:
            print(as_text(finding), flush=True)
    if options.json:
        print(as_json(found))
    failing = [each.name for each in found if each.fails]
    if failing:
        raise Incomplete(f"training would fail here, see {', '.join(failing)}; {flag('output')} may be another folder")
