"""The program `ti-trainer`: a table of commands."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from . import __version__
from .commands import (
    caption,
    convert,
    dataset,
    distill,
    doctor,
    evaluate,
    inspect,
    merge,
    preview,
    publish,
    suggest,
    train,
    ui,
)
from .commands.flags import Parser, describe
from .errors import BadInput, Diverged, Incomplete, Interrupted
from .files.wording import called_as, command_line, in_words

# each a file with a docstring, USAGE, EXAMPLE, `add_flags(parser)` and `run(options)`
COMMANDS: dict[str, ModuleType] = {
    "train": train,
    "dataset": dataset,
    "caption": caption,
    "suggest": suggest,
    "distill": distill,
    "preview": preview,
    "inspect": inspect,
    "convert": convert,
    "merge": merge,
    "evaluate": evaluate,
    "publish": publish,
    "doctor": doctor,
    "ui": ui,
}


def build_parser(command: str | None) -> tuple[Parser, Parser | None]:
    """The parser of the program, and that of `command` if there is one of that name."""
    parser = Parser(
        prog="ti-trainer", description="Textual Inversion: teach a frozen Stable Diffusion model a new word."
    )
    about = parser.group("options")
    about.add_argument("-h", "--help", action="help", help="show this and stop; after COMMAND: all its flags")
    about.add_argument("--version", action="version", version=f"ti-trainer {__version__}", help="show it and stop")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    chosen = None
    for name, module in COMMANDS.items():
        sub = subparsers.add_parser(name, help=module.__doc__)
        sub.set_defaults(run=module.run)
        if name == command:
            describe(sub, module)
            chosen = sub
    return parser, chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 2 for bad input, 1 for what failed, 128 + signal for what was stopped."""
    with command_line(called_as(sys.argv[0], os.environ)):
        try:
            options = parse(list(sys.argv[1:] if arguments is None else arguments))
            run = options.run
            del options.run
            run(options)
        except KeyboardInterrupt:
            print("\nstopped", file=sys.stderr)
            return 130
        except (BadInput, Diverged, Incomplete, Interrupted, OSError) as problem:
            return report(problem)
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options of a command, and as `run` the command; ends the program for --help and for what is no flag."""
    name = arguments[0] if arguments else None
    parser, command_parser = build_parser(name)
    if name and not name.startswith("-") and name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        parser.error(f"'{name}' is no command; " + (f"did you mean {near[0]}?" if near else "--help lists them"))
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        (command_parser or parser).error(f"unrecognized arguments: {' '.join(unknown)}")
    return options


def report(problem: BadInput | Diverged | Incomplete | Interrupted | OSError) -> int:
    """Say why a command ended; returns its exit status."""
    if isinstance(problem, BrokenPipeError):  # whoever read what is said has gone, and so has nothing to be told
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - the interpreter flushes it at its end
        return 128 + 13
    # all processes fail in the same way, but each knows only the concepts that it has met
    if int(os.environ.get("RANK", 0)) == 0 or isinstance(problem, Incomplete):
        said = in_words(problem) if isinstance(problem, OSError) else str(problem)
        print(f"error: {said}" if not isinstance(problem, Interrupted) else f"\n{said}", file=sys.stderr)
    if isinstance(problem, Interrupted):
        return 128 + problem.signal_number
    return 2 if isinstance(problem, BadInput) else 1


if __name__ == "__main__":
    sys.exit(main())
