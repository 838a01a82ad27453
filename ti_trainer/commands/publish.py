"""Put a finished run on the Hugging Face hub, private unless told otherwise."""

from __future__ import annotations

import argparse
from pathlib import Path

from .flags import Parser

USAGE = "RUN --to OWNER/NAME [--public]"
EXAMPLE = "ti-trainer publish runs/my-cat --to me/my-cat"


def add_flags(parser: Parser) -> None:
    parser.add("run_folder", metavar="RUN", help="folder of a run that has ended")
    parser.add("--to", metavar="OWNER/NAME", required=True, help="the model's name on the hub")
    parser.add("--public", action="store_true", help="let everybody see it")
    parser.add("--update", action="store_true", help="add to a model that is there already")
    parser.add("--dry_run", action="store_true", help="say which files would go there, and send nothing")


def run(options: argparse.Namespace) -> None:
    from ..runs.hub import files_to_publish, publish

    folder = Path(options.run_folder)
    if options.dry_run:
        print("\n".join(files_to_publish(folder)))
        return
    address = publish(folder, options.to, options.public, options.update)
    print(f"{address}  ({'public' if options.public else 'private, unless it was public before'})")
