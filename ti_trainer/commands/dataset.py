"""Show what training would see of pictures and captions, and what is wrong with them."""

from __future__ import annotations

import argparse

from ..config.bundled import MY_CAT, TINY_SD
from ..config.concept import Concept
from ..config.config import TrainConfig
from ..config.settings import config_from_mapping
from .flags import Parser, add_settings

USAGE = "[DIR] [--token NAME] [--sheet FILE]"
EXAMPLE = 'ti-trainer dataset photos/my-dog --token "<my-dog>" --sheet my-dog.png'


def add_flags(parser: Parser) -> None:
    parser.add("images", metavar="DIR", nargs="*", default=[MY_CAT], help="what `train --images` takes")
    parser.add("--sheet", metavar="FILE", default="dataset.png", help="contact sheet to write (default: %(default)s)")
    parser.add("--json", action="store_true", help="print JSON")
    parser.add("--token", metavar='"<NAME>"', default="<token>", help="the new word in captions (default: %(default)s)")
    add_settings(parser, Concept, lambda setting: setting.name not in ("images", "token"))
    add_settings(parser, TrainConfig, lambda setting: setting.about.for_dataset)


def run(options: argparse.Namespace) -> None:
    from ..reports.contact_sheet import show_dataset

    flags = vars(options)
    sheet = flags.pop("sheet")
    as_json = flags.pop("json")
    show_dataset(config_from_mapping({"model": TINY_SD}, flags), sheet, as_json)
