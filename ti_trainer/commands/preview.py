"""Draw prompts with embedding files."""

from __future__ import annotations

import argparse

from ..config.config import ModelConfig
from .flags import add_fields, take_model


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("embeddings", nargs="*", help="embedding files; prompts use their tokens")
    parser.add_argument(
        "--prompt", action="append", required=True, help="what to draw; give it several times for a grid"
    )
    parser.add_argument("--output", default="preview.png", help="picture to write (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=1, help="rows of the grid, each from its own noise")
    parser.add_argument("--steps", type=int, default=20, help="denoising steps (default: %(default)s)")
    parser.add_argument("--guidance", type=float, default=5.0, help="guidance scale (default: %(default)s)")
    add_fields(parser, ModelConfig)


def run(options: argparse.Namespace) -> None:
    from ..reports.previews import preview

    model = take_model(options)
    print(preview(model=model, **vars(options)))
