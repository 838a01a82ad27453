"""Learn a new word from pictures."""

from __future__ import annotations

import argparse

from ..config.concept_lists import read_concepts
from ..config.config import Concept, TrainConfig
from ..config.settings import configs_from_mapping, configs_to_yaml, read_yaml
from .flags import Parser, add_settings

USAGE = '--token "<my-cat>" [--images DIR]'
EXAMPLE = 'ti-trainer train --token "<my-dog>" --images photos --init dog --config configs/sd15.yaml'


def add_flags(parser: Parser) -> None:
    files = parser.group("settings in files")
    files.add_argument("--config", metavar="FILE", help="YAML file with settings; flags override it")
    files.add_argument(
        "--concepts",
        metavar="FILE",
        help="train many concepts at once: a yaml, jsonl, csv or parquet file with the settings of one in each row",
    )
    files.add_argument("--print_config", action="store_true", help="print the resolved settings as YAML and stop")
    add_settings(parser, Concept)
    add_settings(parser, TrainConfig)


def run(options: argparse.Namespace) -> None:
    flags = vars(options)
    path, listed, print_only = (flags.pop(name) for name in ("config", "concepts", "print_config"))
    values = read_yaml(path) if path else {}
    if listed:
        values["concepts"] = read_concepts(listed)
    configs = configs_from_mapping(values, flags)
    if print_only:
        print(configs_to_yaml(configs), end="")
        return
    from ..training.jobs import train_all

    train_all(configs)
