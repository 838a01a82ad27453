"""Show what an embedding file holds."""

from __future__ import annotations

import argparse

from ..config.config import ModelConfig
from .flags import add_fields, take_model


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("embedding", help="embedding file, of any format that we read")
    parser.add_argument("--token", help="which embedding, where the file holds several; else a name for it")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_fields(parser, ModelConfig)  # a model adds norms and nearest words of its vocabulary


def run(options: argparse.Namespace) -> None:
    from ..reports.inspection import inspect, inspection_text

    named = hasattr(options, "model")
    model = take_model(options)
    print(inspection_text(inspect(options.embedding, model if named else None, options.token), options.json))
