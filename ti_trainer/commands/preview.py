"""Draw prompts with embedding files."""

from __future__ import annotations

import argparse

from ..config.config import TrainConfig
from .flags import Parser, add_model, add_settings, take_model

USAGE = '--prompts "a photo of a {token}" [FILE ...]'
EXAMPLE = "ti-trainer preview runs/my-dog/my-dog.safetensors --prompts 'a photo of a {token}' --preview_seeds 3"
# settings of a run that say how its previews are drawn
OF_RUN = ("negative_prompt", "preview_seeds", "preview_width", "preview_height", "preview_steps", "guidance", "seed")


def add_flags(parser: Parser) -> None:
    parser.add("embeddings", metavar="FILE", nargs="*", help="embedding files; prompts use their tokens")
    parser.add(
        "--prompts",
        metavar="TEXT",
        nargs="+",
        action="extend",
        required=True,
        help="what to draw, a column of the grid for each: prompts, where {token} stands for the tokens of the files, "
        "or a text file with one in each line",
    )
    parser.add("--output", metavar="FILE", default="preview.png", help="picture to write (default: %(default)s)")
    add_settings(parser, TrainConfig, lambda setting: setting.name in OF_RUN)
    add_model(parser)


def run(options: argparse.Namespace) -> None:
    from ..reports.previews import preview

    model = take_model(options)
    print(preview(model=model, **vars(options)))
