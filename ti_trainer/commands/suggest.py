"""Find from pictures the words that best start their concept."""

from __future__ import annotations

import argparse

from ..config.bundled import MY_CAT
from ..config.concept import Concept
from ..config.config import TrainConfig
from ..config.model import ModelConfig
from ..config.settings import config_from_mapping
from .flags import Parser, add_number, add_settings

USAGE = "[DIR] [--words FILE] [--passes INT]"
EXAMPLE = "ti-trainer suggest photos/my-dog --model models/sd15"
# settings of a run that change what the model sees of the pictures
OF_CONCEPT = ("image_column", "masks", "alpha_color")
OF_RUN = ("clip", "resolution", "crop", "mask_background", "latent_cache", "skip_bad_images", "seed")
NAME = "<words>"  # of the concept, which nobody sees


def add_flags(parser: Parser) -> None:
    parser.add("images", metavar="DIR", nargs="*", default=[MY_CAT], help="what `train --images` takes")
    parser.add("--words", metavar="FILE", help="candidates, one in a line (default: the model's, or a list of ours)")
    add_number(parser, "passes", 8000, "forward passes at most, of a picture each", low=1, high=100_000_000)
    parser.add("--json", action="store_true", help="print JSON")
    add_settings(parser, Concept, lambda setting: setting.name in OF_CONCEPT)
    add_settings(parser, ModelConfig, lambda setting: not setting.about.training_only)
    add_settings(parser, TrainConfig, lambda setting: setting.name in OF_RUN)


def run(options: argparse.Namespace) -> None:
    from ..reports.words import words_as_json, words_text
    from ..training.suggestion import suggest

    flags = vars(options)
    words = flags.pop("words")
    passes = flags.pop("passes")
    show = words_as_json if flags.pop("json") else words_text
    found = suggest(config_from_mapping({}, {**flags, "token": NAME}), words, passes)
    print(show(found.steps, found.pictures, found.seconds), flush=True)
    if found.stop:
        raise found.stop
