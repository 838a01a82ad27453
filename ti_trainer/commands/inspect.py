"""Show what an embedding file holds."""

from __future__ import annotations

import argparse

from .flags import Parser, add_model, take_model

USAGE = "FILE [--model DIR|HUB_ID|FILE]"
EXAMPLE = "ti-trainer inspect runs/my-dog/my-dog.safetensors"


def add_flags(parser: Parser) -> None:
    parser.add("embedding", metavar="FILE", help="embedding file, of any format that we read")
    parser.add("--token", help="which embedding, where the file holds several; else a name for it")
    parser.add("--json", action="store_true", help="print JSON")
    add_model(parser)  # a model adds norms and nearest words of its vocabulary


def run(options: argparse.Namespace) -> None:
    from ..reports.inspection import inspect, inspection_text

    named = hasattr(options, "model")
    model = take_model(options)
    print(inspection_text(inspect(options.embedding, model if named else None, options.token), options.json))
