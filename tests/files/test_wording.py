"""Settings in messages are called as the user writes them."""

from __future__ import annotations

import shlex
import threading
from pathlib import Path

import pytest

from ti_trainer.files.wording import command_line, flag, keys_of_a_file


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
        ("output", "a\nb", "--output 'a\\nb'", 'output="a\\nb"', "output: a\nb"),
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
