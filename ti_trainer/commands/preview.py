"""Draw prompts with embedding files."""

from __future__ import annotations

import argparse

from .flags import Parser, add_drawing, add_model, add_number, take_model

USAGE = '--prompt "a photo of a <my-cat>" [FILE ...]'
EXAMPLE = 'ti-trainer preview runs/my-dog/my-dog.safetensors --prompt "a photo of a <my-dog>" --seeds 3'


def add_flags(parser: Parser) -> None:
    parser.add("embeddings", metavar="FILE", nargs="*", help="embedding files; prompts use their tokens")
    parser.add(
        "--prompt",
        metavar="TEXT",
        action="append",
        required=True,
        help="what to draw; give it several times for a grid",
    )
    parser.add(
        "--negative_prompt",
        metavar="TEXT",
        help="what to keep out (default: the tokens of the files that were made for the negative prompt)",
    )
    parser.add("--output", metavar="FILE", default="preview.png", help="picture to write (default: %(default)s)")
    add_number(parser, "seeds", 1, "rows of the grid, each from its own noise", low=1, high=1_000)
    add_drawing(parser)
    add_model(parser)


def run(options: argparse.Namespace) -> None:
    from ..reports.previews import preview

    model = take_model(options)
    print(preview(model=model, **vars(options)))
