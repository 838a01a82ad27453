"""Write captions beside pictures that have none: the token, and the scene around it."""

from __future__ import annotations

import argparse

from ..config.bundled import TINY_SD
from ..config.concept import Concept
from ..config.config import ModelConfig, TrainConfig
from ..config.settings import config_from_mapping
from .flags import Parser, add_settings

USAGE = 'DIR --token "<NAME>" [--dry_run]'
EXAMPLE = 'ti-trainer caption photos/my-dog --token "<my-dog>" --captioner Salesforce/blip-image-captioning-large'
# settings of a run that say which pictures there are, and what the model sees of them
OF_CONCEPT = ("token", "image_column", "caption_column", "masks", "alpha_color")
OF_RUN = ("resolution", "latent_cache", "skip_bad_images", "seed")
OWN = ("subject", "captioner", "clip", "phrases")


def add_flags(parser: Parser) -> None:
    parser.add("images", metavar="DIR", nargs="+", help="folders of pictures; cat.png gets the caption cat.txt")
    parser.add("--subject", metavar="NOUN", help='what it is: "cat" or "cat, kitten" (default: last word of the token)')
    parser.add(
        "--captioner",
        metavar="DIR|HUB_ID",
        help="image-to-text model whose sentences are written, with the token for the subject; BLIP, LLaVA, ...",
    )
    parser.add("--clip", metavar="DIR|HUB_ID", help="CLIP that chooses scenes; by default the frozen model's loss does")
    parser.add(
        "--phrases",
        metavar="FILE",
        help='scenes to choose from, one in a line, such as "on grass" (default: ours that the model knows)',
    )
    parser.add("--dry_run", action="store_true", help="show the captions and write nothing")
    add_settings(parser, Concept, lambda setting: setting.name in OF_CONCEPT)
    add_settings(parser, ModelConfig, lambda setting: not setting.about.training_only)
    add_settings(parser, TrainConfig, lambda setting: setting.name in OF_RUN)


def run(options: argparse.Namespace) -> None:
    from tqdm.auto import tqdm

    from ..training.captioning import Captioning, write_captions

    flags = vars(options)
    how = Captioning(**{name: flags.pop(name) for name in OWN})
    is_trial = flags.pop("dry_run")
    shown = {"model": TINY_SD} if how.captioner or how.clip else {}  # the model then only says how large pictures are
    write_captions(config_from_mapping(shown, flags), how, is_trial, tqdm.write)
