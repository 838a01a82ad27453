"""Measure an embedding: CLIP-I, CLIP-T and, in the bundled world, attributes."""

from __future__ import annotations

import argparse

from ..config.bundled import JUDGE, MY_CAT, TINY_CLIP
from .flags import Parser, add_drawing, add_model, add_number, take_model

USAGE = "FILE [--images DIR] [--clip DIR|HUB_ID]"
EXAMPLE = "ti-trainer evaluate runs/my-dog/my-dog.safetensors --images photos --clip openai/clip-vit-large-patch14"


def add_flags(parser: Parser) -> None:
    parser.add("embedding", metavar="FILE", help="embedding file")
    parser.add("--images", metavar="DIR", default=MY_CAT, help="the concept's pictures (default: the bundled ones)")
    parser.add("--clip", metavar="DIR", default=TINY_CLIP, help="CLIP folder or hub id (default: the bundled one)")
    parser.add("--word", help="class noun in place of the token for CLIP-T (default: last word of the token)")
    parser.add(
        "--judge",
        metavar="DIR",
        help=f"classifier whose labels are attribute:value; '{JUDGE}' is the bundled world's (default for its model)",
    )
    add_number(parser, "count", 32, "pictures to draw", low=1, high=1_000_000)
    add_number(parser, "seed", 0, "of the noise", low=0, high=2**63 - 1)
    add_drawing(parser)
    parser.add("--json", action="store_true", help="print JSON")
    add_model(parser)


def run(options: argparse.Namespace) -> None:
    from ..reports.evaluation import evaluate_file, report_text

    model = take_model(options)
    values = vars(options)
    as_json = values.pop("json")
    print(report_text(evaluate_file(model=model, **values), as_json))
