"""The program `ti-trainer`: a table of commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from types import ModuleType

from .commands import convert, dataset, evaluate, inspect, preview, train
from .commands.flags import Parser
from .errors import BadInput, Diverged, Incomplete, Interrupted

# each a file with a docstring, `add_flags(parser)` and `run(options)`
COMMANDS: dict[str, ModuleType] = {
    "train": train,
    "dataset": dataset,
    "preview": preview,
    "inspect": inspect,
    "convert": convert,
    "evaluate": evaluate,
}


def build_parser(command: str | None) -> tuple[Parser, Parser | None]:
    """The parser of the program, and that of `command` if there is one of that name."""
    parser = Parser(
        prog="ti-trainer", description="Textual Inversion: teach a frozen Stable Diffusion model a new word."
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    chosen = None
    for name, module in COMMANDS.items():
        sub = subparsers.add_parser(name, help=module.__doc__, description=module.__doc__)
        sub.set_defaults(run=module.run)
        if name == command:
            module.add_flags(sub)
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
