"""Fit a few rows to a long prompt or a list of tags, without pictures."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from ..config.concept import Concept
from ..config.config import ModelConfig, TrainConfig
from ..config.fields import settings_of
from ..config.settings import config_from_mapping, field_documentation
from ..config.sharing import SharingConfig
from ..errors import Interrupted
from .flags import FIRST, Parser, add_number, add_setting, add_settings

USAGE = '"TEXT" [--token "<NAME>"] [--num_vectors INT]'
EXAMPLE = 'ti-trainer distill "masterpiece, best quality, soft light, film grain" --num_vectors 4 --token "<my-look>"'
# settings of a run that mean something else here: default, and what --help says
OWN: dict[str, tuple[Any, str]] = {
    "token": ("<my-text>", "The new word; the file is named after it."),
    "num_vectors": (8, "Rows that stand in for the text."),
    "init": (
        "auto",
        "Where the rows start: what `train --init` takes, or auto: the words that count most in the text.",
    ),
    "templates": ("object", "Frames in which the token stands for the text, beside itself alone: what `train` takes."),
    "steps": (200, "Steps that compare the text encoders' outputs with token and with text."),
    "lr": (0.34, "Learning rate of the rows; with sphere an angle."),
    "lr_schedule": ("cosine", "How it goes on after the warm-up, as in `train`."),
    "optimizer": ("sphere", "Update rule of the rows, as in `train`."),
}
AS_IN_TRAIN = ("negative", "seed", "warmup_steps", "weight_decay", "max_grad_norm", "precision")
# of the steps that compare predictions
OF_DENOISER = ("batch_size", "micro_batch_size", "weighting", "gamma", "timesteps", "resolution")
OF_PICTURES = ("preview_steps", "guidance")
DENOISER = "comparing the denoiser's predictions, on pictures that the model draws of the text"


def add_flags(parser: Parser) -> None:
    parser.add("text", metavar="TEXT", help="what the token is to stand for")
    known = {**settings_of(Concept), **settings_of(TrainConfig)}
    documentation = {**field_documentation(Concept), **field_documentation(TrainConfig)}
    for name, (default, text) in OWN.items():
        add_setting(parser, replace(known[name], default=default), text, FIRST, argparse.SUPPRESS)
    parser.add("--output", metavar="PATH", help="file or folder (default: the present folder, named after the token)")
    parser.add("--overwrite", action="store_true", help="write over a file that is there")
    for name in AS_IN_TRAIN:
        add_setting(parser, known[name], documentation[name], "learning", argparse.SUPPRESS)
    add_number(
        parser, "denoiser_steps", 0, "Steps after those, that compare its predictions.", DENOISER, low=0, high=10**7
    )
    for name in (*OF_DENOISER, *OF_PICTURES):
        add_setting(parser, known[name], documentation[name], DENOISER, argparse.SUPPRESS)
    add_settings(parser, SharingConfig, lambda setting: setting.name != "thumbnail")  # there is no picture
    add_settings(parser, ModelConfig)


def run(options: argparse.Namespace) -> None:
    from ..embedding_files.conversion import conversion_text
    from ..training.distillation import distill, distillation_text, planned_file, save

    flags = vars(options)
    text = flags.pop("text")
    denoiser_steps = flags.pop("denoiser_steps")
    output = flags.pop("output")
    overwrite = flags.pop("overwrite")
    config = config_from_mapping({name: default for name, (default, _) in OWN.items()}, flags)
    path = planned_file(config, output, overwrite)
    found = distill(config, text, denoiser_steps)
    print(conversion_text(save(found, path, overwrite)))
    print(distillation_text(found), flush=True)
    if found.stopped_by is not None:
        raise Interrupted("stopped; the file holds the rows so far", found.stopped_by)
