"""Measure how like its pictures an embedding is, and how well it follows prompts, beside what it should beat."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..config.concept import Concept
from ..config.config import ModelConfig
from ..config.fields import settings_of
from .flags import Parser, add_drawing, add_model, add_number, add_settings

USAGE = "FILE [--images DIR] [--judge MODEL ...] [--against FILE ...]"
EXAMPLE = "ti-trainer evaluate runs/my-dog --checkpoints --judge openai/clip-vit-base-patch32 facebook/dinov2-base"
OF_CONCEPT = ("images", "masks", "image_column", "alpha_color")


def add_flags(parser: Parser) -> None:
    parser.add(
        "embedding",
        metavar="FILE",
        help="embedding file; or the folder of a run, whose model and pictures it then takes",
    )
    parser.add(
        "--judge",
        metavar="MODEL",
        nargs="+",
        action="extend",
        default=[],
        help="models that look at the pictures: folders or hub ids (ID@REVISION for a commit). A CLIP, SigLIP or "
        "SigLIP2 measures identity and prompt, any other image model (DINOv2) identity, a classifier whose labels are "
        "attribute:value attributes. (default: the bundled ones for the bundled model, else CLIP ViT-B/32 and DINOv2)",
    )
    parser.add(
        "--against",
        metavar="FILE",
        nargs="+",
        action="extend",
        default=[],
        help="other embedding files, such as one of plain Textual Inversion: drawn from the same prompts and noise",
    )
    parser.add(
        "--prompts",
        metavar="TEXT",
        nargs="+",
        action="extend",
        default=[],
        help="prompts with {token}, or a text file with one in a line or as DreamBench lists them; or object or style "
        "(default: a photo of a {token}, and in five scenes)",
    )
    parser.add("--prompt_list", metavar="NAME", help="which list of DreamBench's file: object or live")
    parser.add(
        "--word",
        help="the class: stands for the token where texts are compared, and is drawn untrained beside it (default: the "
        "token's last word)",
    )
    add_number(parser, "seeds", 4, "pictures of each prompt, each from noise of its own", low=1, high=1_000)
    add_number(parser, "seed", 0, "the first of these seeds", low=0, high=2**32)
    parser.add("--checkpoints", action="store_true", help="measure a run's checkpoints too, and write the best one")
    parser.add(
        "--best",
        metavar="MEASURE",
        choices=("both", "identity", "prompt"),
        default="both",
        help="by what the best checkpoint is chosen: identity, prompt, or both, their product (default: %(default)s)",
    )
    parser.add("--output", metavar="DIR", help="folder for figures and pictures (default: evaluation/NAME)")
    add_drawing(parser)
    parser.add("--json", action="store_true", help="print JSON")
    add_settings(parser, Concept, lambda setting: setting.name in OF_CONCEPT)
    add_model(parser)


def run(options: argparse.Namespace) -> None:
    from ..reports.evaluation import evaluate_file
    from ..reports.evaluation_report import report_text, write_report

    flags = vars(options)
    as_json = flags.pop("json")
    output = flags.pop("output")
    names = [*settings_of(Concept), *settings_of(ModelConfig)]
    settings = {name: flags.pop(name) for name in names if name in flags}
    subject, evaluation = evaluate_file(settings=settings, **flags)
    folder = Path(output or f"evaluation/{subject.embedding.stem}")
    figures = write_report(subject, evaluation, folder, flags["best"] if flags["checkpoints"] else None)
    print(report_text(figures, as_json))
    if not as_json:
        print(f"\npictures: {folder / 'pictures.png'}; all figures: {folder / 'evaluation.json'}")
