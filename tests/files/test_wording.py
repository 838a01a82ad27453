"""How messages name things: files on one line, and settings as the user writes them."""

from __future__ import annotations

import shlex
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from ti_trainer.files import wording
from ti_trainer.files.wording import (
    MOST_LINES,
    MOST_NAMES,
    called_as,
    command_line,
    flag,
    in_words,
    keys_of_a_file,
    listing,
    printable,
    reason,
    resuming,
    shorten,
)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("my cat.png", "my cat.png"),
        ("Kätzchen 猫.png", "Kätzchen 猫.png"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[2J", r"\x1b[2J"),  # would clear the terminal
        ("a\u202eb", r"a\u202eb"),  # would turn the rest around
        ("bad\udcff", r"bad\udcff"),  # a byte that is no UTF-8, as Python has it in names of files
    ],
)
def test_names_are_on_one_line(name: str, shown: str) -> None:
    assert printable(name) == shown
    assert printable(Path(name)) == shown
    shown.encode()  # can be written anywhere


def test_listing() -> None:
    names = [f"{number}.png" for number in range(2000)]
    assert listing(names[:1]) == "0.png"
    assert listing(names[:MOST_NAMES]) == "0.png, 1.png, 2.png, 3.png, 4.png"
    assert listing(names[: MOST_NAMES + 1]) == "0.png, 1.png, 2.png, 3.png, 4.png and 1 more"
    assert listing(names).endswith("4.png and 1995 more")
    assert listing([]) == ""


def test_shorten() -> None:
    lines = [f"line {number}" for number in range(13)]
    assert shorten(lines[:MOST_LINES]) == lines[:10]
    assert shorten(lines) == [*lines[:10], "... and 3 more like this; ti-trainer dataset lists all"]


@pytest.mark.parametrize(
    ("name", "value", "flags", "python", "yaml"),
    [
        ("lr", None, "--lr", "lr", "lr"),
        ("lr", 0.5, "--lr 0.5", "lr=0.5", "lr: 0.5"),
        ("crop", "subject", "--crop subject", 'crop="subject"', "crop: subject"),
        ("resume", True, "--resume", "resume=True", "resume: true"),
        ("plots", False, "--no-plots", "plots=False", "plots: false"),
        ("token", "<my-cat>", '--token "<my-cat>"', 'token="<my-cat>"', "token: <my-cat>"),
        ("images", Path("my photos"), '--images "my photos"', 'images="my photos"', "images: my photos"),
        ("output", "a\nb", "--output 'a\\nb'", 'output="a\\nb"', r"output: a\nb"),
        ("steps", 0, "--steps 0", "steps=0", "steps: 0"),
    ],
)
def test_flag(name: str, value: object, flags: str, python: str, yaml: str) -> None:
    assert flag(name, value) == python
    with command_line():
        assert flag(name, value) == flags
        with keys_of_a_file({name}):
            assert flag(name, value) == yaml
        with keys_of_a_file({"other"}):
            assert flag(name, value) == flags
    assert flag(name, value) == python


@pytest.mark.parametrize("value", ["plain", "two words", 'say "hi"', "$HOME", "`ls`", "back\\slash", "it's", "!"])
def test_a_shell_reads_the_value_back(value: str) -> None:
    with command_line():
        assert shlex.split(flag("init", value)) == ["--init", value]


@pytest.mark.parametrize(
    ("script", "launched", "expected"),
    [
        ("/usr/bin/ti-trainer", False, "ti-trainer train"),
        ("/x/ti_trainer/__main__.py", False, "python -m ti_trainer train"),
        ("/x/ti_trainer/__main__.py", True, "accelerate launch -m ti_trainer train"),
        ("train.py", False, "python train.py"),
        ("my trainer/train.py", True, "accelerate launch 'my trainer/train.py'"),
    ],
)
def test_how_to_go_on_names_the_program_that_was_called(script: str, launched: bool, expected: str) -> None:
    program = called_as(script, {"ACCELERATE_MIXED_PRECISION": "no"} if launched else {})
    assert resuming("runs/my cat/config.yaml") == "the same call with resume=True"
    with command_line(program):
        assert resuming("runs/my cat/config.yaml") == f"{expected} --config 'runs/my cat/config.yaml' --resume"


def test_a_word_is_quoted_for_the_shell_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wording, "os", SimpleNamespace(name="nt"))
    assert wording.quoted("my runs/cat") == '"my runs/cat"'


def test_words_are_those_of_before_after_an_error() -> None:
    with pytest.raises(ValueError, match="x"), command_line(), keys_of_a_file({"lr"}):
        raise ValueError("x")
    assert flag("lr", 1) == "lr=1"


def test_threads_know_that_they_work_for_the_command_line() -> None:
    """Pictures are read in threads; a file's keys are only of the thread that reads it."""
    said: list[str] = []
    with command_line(), keys_of_a_file({"images"}):
        thread = threading.Thread(target=lambda: said.append(flag("images")))
        thread.start()
        thread.join()
    assert said == ["--images"]


def test_reason_is_one_short_line_whatever_a_library_quotes() -> None:
    assert reason(ValueError("no such thing\nat line 1")) == "no such thing"
    assert reason(KeyError()) == "KeyError"
    assert reason(ValueError("a\x1b[2J")) == r"a\x1b[2J"
    assert reason(ValueError("a" * 10_000)) == "a" * 200 + "..."


def test_what_the_system_says_of_a_file() -> None:
    assert in_words(OSError(28, "No space left on device", "a\nb")) == "a\\nb: No space left on device"
    assert in_words(OSError(5, "Input/output error")) == "Input/output error"
    assert in_words(OSError("a sentence already")) == "a sentence already"
