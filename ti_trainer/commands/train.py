"""Learn a new word from pictures."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..config.concept import Concept
from ..config.concept_lists import read_concepts
from ..config.config import TrainConfig
from ..config.rows import configs_of_rows
from ..config.settings import configs_from_mapping, configs_to_yaml, read_yaml
from ..errors import Incomplete
from ..files.reach import Reach
from ..files.wording import told
from .flags import Parser, add_settings

USAGE = '--token "<my-cat>" [--images DIR]'
EXAMPLE = 'ti-trainer train --token "<my-dog>" --images photos --init dog --config configs/sd15.yaml'


def add_flags(parser: Parser) -> None:
    files = parser.group("settings in files")
    files.add_argument(
        "--config", metavar="FILE", help="YAML file with settings, or one of ours, such as sdxl; flags override it"
    )
    files.add_argument(
        "--concepts",
        metavar="FILE",
        help="train many concepts at once: a yaml, jsonl, csv or parquet file with the settings of one in each row",
    )
    files.add_argument(
        "--trusted_roots",
        metavar="DIR",
        nargs="+",
        default=[],
        help="folders, and URLs such as s3://bucket/orders, that concepts of --concepts may read beside its own folder",
    )
    files.add_argument(
        "--trusted_hosts",
        metavar="HOST",
        nargs="+",
        default=[],
        help="servers of https:// that concepts of --concepts may ask though they are not on the public internet",
    )
    files.add_argument("--print_config", action="store_true", help="print the resolved settings as YAML and stop")
    add_settings(parser, Concept)
    add_settings(parser, TrainConfig)


def run(options: argparse.Namespace) -> None:
    flags = vars(options)
    path, listed, print_only = (flags.pop(name) for name in ("config", "concepts", "print_config"))
    roots, hosts = (flags.pop(name) for name in ("trusted_roots", "trusted_hosts"))
    values = read_yaml(path) if path else {}
    refused: dict[str, Exception] = {}
    if listed:
        folder = Path(listed).parent
        values.pop("concepts", None)
        rows = read_concepts(listed)
        configs, refused = configs_of_rows(rows, values, flags, folder, Reach.within([folder, *roots], hosts))
    else:
        configs = configs_from_mapping(values, flags)
    if print_only:
        if configs:
            print(configs_to_yaml(configs), end="")
        if refused:
            raise Incomplete.because({name: told(why) for name, why in refused.items()}, len(configs) + len(refused))
        return
    from ..training.jobs import train_all

    train_all(configs, refused=refused)
