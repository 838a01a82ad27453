"""Learn a new word from pictures."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..config.concept import Concept
from ..config.config import PROGRESS, TrainConfig
from ..config.inbox import Arrived, Inbox
from ..config.row_limits import RowLimits
from ..config.rows import Refusal
from ..config.settings import configs_from_mapping, configs_to_yaml, read_yaml
from ..errors import BadInput, Incomplete
from ..files.wording import flag, told
from .flags import Parser, add_number, add_settings

if TYPE_CHECKING:
    from ..training.console import Console

ENGINES = ("accelerate", "ray")
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
        help="train many concepts at once: a yaml, jsonl, csv or parquet file with the settings of one in each row, or "
        "a folder of such files",
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
    files.add_argument(
        "--row_limits",
        metavar="NAME=MOST",
        nargs="+",
        default=[],
        help="the most that a row of --concepts may ask for: pictures=40, pixels=50000000, num_vectors=8, steps=1000, "
        "and any other number that a row may set; a row over a limit fails alone",
    )
    files.add_argument(
        "--watch",
        action="store_true",
        help="go on taking rows that are appended to --concepts or, where that is a folder, lists that appear in it, "
        "until a signal comes",
    )
    files.add_argument(
        "--engine",
        choices=ENGINES,
        default="accelerate",
        help="what many concepts are shared out by: accelerate, over the processes that it launches, or ray, over the "
        "workers of a cluster (RAY_ADDRESS) or of this machine",
    )
    text = "workers of ray; by default one for each GPU or, without, processor"
    add_number(parser, "workers", None, text, "settings in files", low=1)
    files.add_argument(
        "--progress",
        choices=PROGRESS,
        default="auto",
        help="how it is told what goes on: a bar, a line now and then, one JSON object a line, or not at all; auto is "
        "a bar on a terminal and lines elsewhere",
    )
    files.add_argument("--print_config", action="store_true", help="print the resolved settings as YAML and stop")
    add_settings(parser, Concept)
    add_settings(parser, TrainConfig)


def run(options: argparse.Namespace) -> None:
    flags = vars(options)
    path, listed, print_only = (flags.pop(name) for name in ("config", "concepts", "print_config"))
    roots, hosts, limits = (flags.pop(name) for name in ("trusted_roots", "trusted_hosts", "row_limits"))
    watch, progress, engine, workers = (flags.pop(name) for name in ("watch", "progress", "engine", "workers"))
    values = read_yaml(path) if path else {}
    if watch and (not listed or print_only):
        raise BadInput(f"{flag('watch', True)} goes with {flag('concepts', 'FILE')}, and only for training")
    if engine == "ray" and (not listed or watch):
        raise BadInput(f"{flag('engine', 'ray')} goes with {flag('concepts', 'FILE')}, and not with watching")
    inbox = None
    arrived = Arrived()
    if listed:
        values.pop("concepts", None)
        inbox = Inbox(listed, values, flags, roots, hosts, RowLimits.parse(limits), watch)
        arrived = inbox.take()
    configs = arrived.configs if inbox else configs_from_mapping(values, flags)
    if print_only:
        print_configs(configs, arrived.refused)
        return
    from ..training.jobs import train_all
    from ..training.progress import console_for

    console = console_for(progress, inbox is not None or len(configs) > 1)
    if os.environ.get("RANK", "0") == "0":  # all processes have read the list
        for note in arrived.notes:
            console.note(note)
    if engine == "ray":
        train_on_cluster(arrived, console, workers)
        return
    events = [console] if callable(console) else []
    train_all(configs, events, console=console, refused=arrived.refused, arrivals=inbox if watch else None)


def train_on_cluster(arrived: Arrived, console: Console, workers: int | None) -> None:
    """Train a list on Ray; raises BadInput where that is not installed."""
    try:
        from ..training.ray_engine import train_on_ray
    except ImportError:
        cure = "pip install 'ti-trainer[ray]'"
        raise BadInput(f"{flag('engine', 'ray')} needs a package that is not installed: {cure}") from None
    train_on_ray(arrived.configs, arrived.refused, console, workers)


def print_configs(configs: Sequence[TrainConfig], refused: Sequence[Refusal]) -> None:
    """Print what would be trained; raises Incomplete where some of it would not."""
    if configs:
        print(configs_to_yaml(configs), end="")
    if refused:
        raise Incomplete.because({each.name: told(each.problem) for each in refused}, len(configs) + len(refused))
