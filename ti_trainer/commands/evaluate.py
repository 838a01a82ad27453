"""Measure an embedding: CLIP-I, CLIP-T and, in the bundled world, attributes."""

from __future__ import annotations

import argparse

from ..config.bundled import JUDGE, MY_CAT, TINY_CLIP
from ..config.config import ModelConfig
from .flags import add_fields, take_model


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("embedding", help="embedding file")
    parser.add_argument("--images", default=MY_CAT, help="the concept's pictures (default: the bundled ones)")
    parser.add_argument("--clip", default=TINY_CLIP, help="CLIP folder or hub id (default: the bundled one)")
    parser.add_argument("--word", help="class noun in place of the token for CLIP-T (default: last word of the token)")
    parser.add_argument(
        "--judge",
        default=None,
        help=f"classifier whose labels are attribute:value; '{JUDGE}' is the bundled world's (default for its model)",
    )
    parser.add_argument("--count", type=int, default=32, help="pictures to draw (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="denoising steps (default: %(default)s)")
    parser.add_argument("--guidance", type=float, default=5.0, help="guidance scale (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_fields(parser, ModelConfig)


def run(options: argparse.Namespace) -> None:
    from ..reports.evaluation import evaluate_file, report_text

    model = take_model(options)
    values = vars(options)
    as_json = values.pop("json")
    print(report_text(evaluate_file(model=model, **values), as_json))
