"""Show what training would see of pictures and captions, and what is wrong with them."""

from __future__ import annotations

import argparse

from ..config.bundled import MY_CAT
from ..config.config import Concept, TrainConfig
from ..config.settings import config_from_mapping, field_names
from .flags import add_fields

# what TrainConfig says about how pictures and captions are shown
MODEL_SETTINGS = ("model", "revision", "cache_dir", "offline", "model_config", "long_captions")
DATASET_SETTINGS = (*MODEL_SETTINGS, "resolution", "buckets", "crop", "crops", "mask_background", "seed")


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", metavar="DIR", nargs="?", default=MY_CAT, help="what `train --images` takes")
    parser.add_argument("--sheet", default="dataset.png", help="contact sheet to write (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--token", default="<token>", help="the new word that captions mention (default: %(default)s)")
    add_fields(parser, Concept, leave_out=["images", "token"])
    add_fields(parser, TrainConfig, leave_out=[n for n in field_names(TrainConfig) if n not in DATASET_SETTINGS])


def run(options: argparse.Namespace) -> None:
    from ..reports.contact_sheet import show_dataset

    flags = vars(options)
    sheet, as_json = flags.pop("sheet"), flags.pop("json")
    show_dataset(config_from_mapping(flags), sheet, as_json)
