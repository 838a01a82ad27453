"""The commands; each only turns flags into a call of a function that notebooks can call too."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import os
import sys
from collections.abc import Callable, Sequence
from inspect import get_annotations
from typing import Any, NoReturn

from .bundled import JUDGE, MY_CAT, TINY_CLIP
from .concept_lists import read_concepts
from .config import Concept, ModelConfig, TrainConfig
from .errors import BadInput, Diverged, Incomplete, Interrupted
from .settings import (
    SCALARS,
    config_from_mapping,
    configs_from_mapping,
    configs_to_yaml,
    field_documentation,
    field_names,
    read_yaml,
)


class Parser(argparse.ArgumentParser):
    """Argparse whose errors name the nearest right flag."""

    def error(self, message: str) -> NoReturn:
        unknown = message.partition("unrecognized arguments: ")[2].split()
        if unknown:
            flags = [flag for action in self._actions for flag in action.option_strings]
            near = difflib.get_close_matches(unknown[0].split("=")[0], flags, n=1)
            message = f"{unknown[0]} is not a flag of {self.prog}"
            message += f"; did you mean {near[0]}?" if near else "; --help lists them"
        self.exit(2, f"error: {message}\n")


def add_fields(parser: argparse.ArgumentParser, kind: type, leave_out: Sequence[str] = ()) -> None:
    """A flag for each scalar field of a dataclass, with the field's documentation."""
    for base in kind.__mro__[1:]:
        if dataclasses.is_dataclass(base):
            add_fields(parser, base, leave_out)
    group = parser.add_argument_group(str(kind.__doc__).splitlines()[0])
    for field in dataclasses.fields(kind):
        if field.name not in get_annotations(kind):  # a base's
            continue
        name = str(field.type).partition(" | ")[0]
        if name not in SCALARS or field.name in leave_out:
            continue
        help_text = field_documentation(kind)[field.name].replace("%", "%%")
        if field.default not in (None, dataclasses.MISSING, False):
            help_text += f" (default: {field.default})"
        how: dict[str, Any] = {"type": SCALARS[name], "metavar": name.upper()}
        if name == "bool":
            how = {"action": argparse.BooleanOptionalAction}
        group.add_argument(f"--{field.name}", default=argparse.SUPPRESS, help=help_text, **how)


def add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", help="YAML file with settings; flags override it")
    parser.add_argument(
        "--concepts",
        metavar="FILE",
        help="train many concepts at once: a yaml, jsonl, csv or parquet file with the settings of one in each row",
    )
    parser.add_argument("--print_config", action="store_true", help="print the resolved settings as YAML and stop")
    add_fields(parser, Concept)
    add_fields(parser, TrainConfig)


def run_train(options: argparse.Namespace) -> None:
    """Learn a new word from pictures."""
    flags = vars(options)
    path, listed, print_only = (flags.pop(name) for name in ("config", "concepts", "print_config"))
    values = read_yaml(path) if path else {}
    if listed:
        values["concepts"] = read_concepts(listed)
    configs = configs_from_mapping(values, flags)
    if print_only:
        print(configs_to_yaml(configs), end="")
        return
    from .jobs import train_all

    train_all(configs)


# what TrainConfig says about how pictures and captions are shown
MODEL_SETTINGS = ("model", "revision", "cache_dir", "offline", "model_config", "long_captions")
DATASET_SETTINGS = (*MODEL_SETTINGS, "resolution", "buckets", "crop", "crops", "mask_background", "seed")


def add_dataset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", metavar="DIR", nargs="?", default=MY_CAT, help="what `train --images` takes")
    parser.add_argument("--sheet", default="dataset.png", help="contact sheet to write (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--token", default="<token>", help="the new word that captions mention (default: %(default)s)")
    add_fields(parser, Concept, leave_out=["images", "token"])
    add_fields(parser, TrainConfig, leave_out=[n for n in field_names(TrainConfig) if n not in DATASET_SETTINGS])


def run_dataset(options: argparse.Namespace) -> None:
    """Show what training would see of pictures and captions, and what is wrong with them."""
    from .contact_sheet import show_dataset

    flags = vars(options)
    sheet, as_json = flags.pop("sheet"), flags.pop("json")
    show_dataset(config_from_mapping(flags), sheet, as_json)


def take_model(options: argparse.Namespace) -> ModelConfig:
    """The model that the flags name; they are taken out of `options`."""
    return ModelConfig(**{name: vars(options).pop(name) for name in field_names(ModelConfig) if hasattr(options, name)})


def add_preview(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("embeddings", nargs="*", help="embedding files; prompts use their tokens")
    parser.add_argument(
        "--prompt", action="append", required=True, help="what to draw; give it several times for a grid"
    )
    parser.add_argument("--output", default="preview.png", help="picture to write (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=1, help="rows of the grid, each from its own noise")
    parser.add_argument("--steps", type=int, default=20, help="denoising steps (default: %(default)s)")
    parser.add_argument("--guidance", type=float, default=5.0, help="guidance scale (default: %(default)s)")
    add_fields(parser, ModelConfig)


def run_preview(options: argparse.Namespace) -> None:
    """Draw prompts with embedding files."""
    from .evaluation import preview

    model = take_model(options)
    print(preview(model=model, **vars(options)))


def add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("embedding", help="embedding file, of any format that we read")
    parser.add_argument("--token", help="which embedding, where the file holds several; else a name for it")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_fields(parser, ModelConfig)  # a model adds norms and nearest words of its vocabulary


def run_inspect(options: argparse.Namespace) -> None:
    """Show what an embedding file holds."""
    from .inspection import inspect, inspection_text

    named = hasattr(options, "model")
    model = take_model(options)
    print(inspection_text(inspect(options.embedding, model if named else None, options.token), options.json))


def add_convert(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="embedding file, of any format that we read")
    parser.add_argument(
        "--to", required=True, metavar="FORMAT", help="webui, diffusers, kohya, onetrainer, a1111-pt or png-card"
    )
    parser.add_argument("--output", help="file or folder (default: the folder of the file, named after the token)")
    parser.add_argument("--token", help="a new name; or which embedding, where the file holds several")
    parser.add_argument("--picture", help="what to draw a png-card on (default: the numbers of the embedding)")
    parser.add_argument("--overwrite", action="store_true", help="write over files that are there")


def run_convert(options: argparse.Namespace) -> None:
    """Write an embedding file in another format."""
    from .conversion import conversion_text, convert

    print(conversion_text(convert(**vars(options))))


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("embedding", help="embedding file")
    parser.add_argument("--images", default=MY_CAT, help="the concept's pictures (default: the bundled ones)")
    parser.add_argument("--clip", default=TINY_CLIP, help="CLIP folder or hub id (default: the bundled one)")
    parser.add_argument("--word", help="class noun in place of the token for CLIP-T (default: last word of the token)")
    parser.add_argument(
        "--judge",
        default=None,
        help=f"classifier whose labels are attribute:value; '{JUDGE}' is the bundled world's (default for its model)",
    )
    parser.add_argument("--count", type=int, default=32, help="pictures to draw (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="denoising steps (default: %(default)s)")
    parser.add_argument("--guidance", type=float, default=5.0, help="guidance scale (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_fields(parser, ModelConfig)


def run_evaluate(options: argparse.Namespace) -> None:
    """Measure an embedding: CLIP-I, CLIP-T and, in the bundled world, attributes."""
    from .evaluation import evaluate_file, report_text

    model = take_model(options)
    values = vars(options)
    as_json = values.pop("json")
    print(report_text(evaluate_file(model=model, **values), as_json))


COMMANDS: dict[str, tuple[Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], None]]] = {
    "train": (add_train, run_train),
    "dataset": (add_dataset, run_dataset),
    "preview": (add_preview, run_preview),
    "inspect": (add_inspect, run_inspect),
    "convert": (add_convert, run_convert),
    "evaluate": (add_evaluate, run_evaluate),
}


def build_parser(command: str | None) -> tuple[Parser, Parser | None]:
    """The parser of the program, and that of `command` if there is one of that name."""
    parser = Parser(
        prog="ti-trainer", description="Textual Inversion: teach a frozen Stable Diffusion model a new word."
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    chosen = None
    for name, (add_flags, run) in COMMANDS.items():
        sub = subparsers.add_parser(name, help=run.__doc__, description=run.__doc__)
        sub.set_defaults(run=run)
        if name == command:
            add_flags(sub)
            chosen = sub
    return parser, chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 2 for bad input, 1 for a diverged run, 128 + signal for a stopped one."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser, command_parser = build_parser(arguments[0] if arguments else None)
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        (command_parser or parser).error(f"unrecognized arguments: {' '.join(unknown)}")
    run = options.run
    del options.run
    try:
        run(options)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except (BadInput, Diverged, Incomplete, Interrupted) as problem:
        # all processes fail in the same way, but each knows only the concepts that it has met
        if int(os.environ.get("RANK", 0)) == 0 or isinstance(problem, Incomplete):
            print(f"error: {problem}" if not isinstance(problem, Interrupted) else f"\n{problem}", file=sys.stderr)
        if isinstance(problem, Interrupted):
            return 128 + problem.signal_number
        return 2 if isinstance(problem, BadInput) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
