"""How messages name things: files on one line and not two thousand of them, settings as the user writes them."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

MOST_NAMES = 5
MOST_LINES = 10
LONGEST_REASON = 200  # letters
LONGEST_NAME = 240  # characters
LONGEST_MESSAGE = 4_000

_program = ""  # how training is asked for on the command line; "" where Python is spoken
# settings that come from a file, where a config is made from one
_keys: ContextVar[Collection[str]] = ContextVar("keys", default=())


def flag(name: str, value: object = None) -> str:
    """A setting as its user writes it; `value`: with this value.

    On the command line: `--lr`, `--crop subject`, `--resume`, `--no-plots`.
    In Python: `lr`, `crop="subject"`, `resume=True`, `plots=False`.
    While a YAML file or a list of concepts is read that has the setting: `lr`, `crop: subject`, `plots: false`.
    """
    if name in _keys.get():
        text = str(value).lower() if isinstance(value, bool) else printable(str(value))
        return name if value is None else f"{name}: {text}"
    if not _program:
        is_text = isinstance(value, (str, Path))
        text = printable(json.dumps(str(value), ensure_ascii=False) if is_text else str(value))
        return name if value is None else f"{name}={text}"
    if value is None or isinstance(value, bool):
        return f"--no-{name}" if value is False else f"--{name}"
    text = printable(str(value))
    if shlex.quote(text) == text:  # no shell reads anything into it
        return f"--{name} {text}"
    return f"--{name} {shlex.quote(text)}" if set(text) & set('"$`!\\') else f'--{name} "{text}"'


@contextmanager
def command_line(program: str = "ti-trainer train") -> Iterator[None]:
    """Within it `flag` names settings as on the command line, in every thread; program: what `called_as` says."""
    global _program
    before = _program
    _program = program
    try:
        yield
    finally:
        _program = before


def called_as(script: str, environment: Mapping[str, str]) -> str:
    """How training is asked for by whoever called this program; script: sys.argv[0]."""
    launch = "accelerate launch" if "ACCELERATE_MIXED_PRECISION" in environment else ""
    name = Path(script).name
    if name == "__main__.py":
        return f"{launch or 'python'} -m ti_trainer train"
    return f"{launch or 'python'} {quoted(script)}" if name.endswith(".py") else "ti-trainer train"


def resuming(config: Path | str) -> str:
    """How to go on with a run; config: its config.yaml."""
    return f"{_program} --config {quoted(str(config))} --resume" if _program else "the same call with resume=True"


def quoted(text: str) -> str:
    """A word of a command line, for the shell that this system has."""
    return subprocess.list2cmdline([text]) if os.name == "nt" else shlex.quote(text)


@contextmanager
def keys_of_a_file(names: Collection[str]) -> Iterator[None]:
    """Within it `flag` names these settings as in a file."""
    token = _keys.set(names)
    try:
        yield
    finally:
        _keys.reset(token)


def printable(path: Path | str) -> str:
    """A file's name, or another text of somebody else, on one line: `escaped`, and without the middle of a long one."""
    text = escaped(str(path))
    half = LONGEST_NAME // 2
    return text if len(text) <= LONGEST_NAME else f"{text[:half]} ... {text[-half:]}"


def escaped(text: str) -> str:
    """A text on one line: line breaks, controls and bytes that are no text are written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def told(problem: BaseException) -> str:
    """The message of an exception, printable whatever it quotes, and not longer than somebody reads."""
    text = "\n".join(map(escaped, str(problem).split("\n"))) or type(problem).__name__
    return text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]} ..."


def reason(error: Exception) -> str:
    """What a library says of a file that it cannot read, on one short line: it may quote the file."""
    line = (str(error).splitlines() or [""])[0] or type(error).__name__
    return printable(line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}...")


def listing(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def shorten(lines: Sequence[str]) -> list[str]:
    """The first lines, and how many more there are."""
    more = len(lines) - MOST_LINES
    return [
        *lines[:MOST_LINES],
        *([f"... and {more} more like this; ti-trainer dataset lists all"] if more > 0 else []),
    ]


def in_words(error: OSError) -> str:
    """What the system says of a file, without its number: "runs/x: No space left on device"."""
    if error.errno is None:
        return str(error)
    reason = error.strerror or str(error)
    return reason if error.filename is None else f"{printable(str(error.filename))}: {reason}"
