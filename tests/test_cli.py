"""The program: its commands, its exit statuses, and what it says of a problem."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ti_trainer import __version__
from ti_trainer.cli import COMMANDS, main
from ti_trainer.errors import BadInput, Diverged, Incomplete, Interrupted
from ti_trainer.files.wording import flag

REPOSITORY = Path(__file__).resolve().parents[1]


def run_main(arguments: list[str]) -> int:
    try:
        return main(arguments)
    except SystemExit as stop:  # argparse's way
        return int(stop.code or 0)


@pytest.mark.parametrize(
    ("problem", "status", "said"),
    [
        (BadInput("no such thing"), 2, {"0": "error: no such thing\n", "1": ""}),
        (Diverged("infinite"), 1, {"0": "error: infinite\n", "1": ""}),
        (OSError(28, "No space left on device"), 1, {"0": "error: No space left on device\n", "1": ""}),
        (OSError(30, "Read-only file system", "a/b"), 1, {"0": "error: a/b: Read-only file system\n", "1": ""}),
        (Interrupted("stopped", 15), 128 + 15, {"0": "\nstopped\n", "1": ""}),
        # a process knows only the concepts that it was dealt
        (Incomplete("1 of 3"), 1, {"0": "error: 1 of 3\n", "1": "error: 1 of 3\n"}),
    ],
)
def test_what_each_process_says_of_a_problem(
    problem: Exception,
    status: int,
    said: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(options: Any) -> None:
        raise problem

    monkeypatch.setattr(COMMANDS["train"], "run", fail)
    for rank, wanted in said.items():
        monkeypatch.setenv("RANK", rank)
        assert main(["train"]) == status
        assert capsys.readouterr().err == wanted


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(["trian"]) == 2
    assert capsys.readouterr().err == "error: 'trian' is no command; did you mean train?\n"
    assert run_main(["xyz"]) == 2
    assert capsys.readouterr().err == "error: 'xyz' is no command; --help lists them\n"
    assert run_main([]) == 2
    assert "COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], *([command] for command in COMMANDS)], ids=" ".join)
def test_help_is_light(arguments: list[str]) -> None:
    """It answers at once, because none of the libraries that take seconds are loaded."""
    code = (
        "import sys; from ti_trainer.cli import main\n"
        f"try: main([*{arguments}, '--help'])\n"
        "finally: print('loaded:', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text, _, loaded = done.stdout.partition("loaded:")
    assert text.startswith(" ".join(["usage: ti-trainer", *arguments]))
    assert not {"torch", "diffusers", "transformers", "accelerate", "numpy", "PIL"} & set(loaded.split())


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(["--help"]) == 0
    text = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert re.search(rf"^ +{name} +{re.escape(str(command.__doc__).split(';')[0][:30])}", text, re.MULTILINE)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(["--version"]) == 0
    assert capsys.readouterr().out == f"ti-trainer {__version__}\n"


def test_python_can_run_the_package() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ti_trainer", "--version"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"ti-trainer {__version__}\n"


def test_settings_are_called_as_flags_only_while_a_command_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(options: Any) -> None:
        raise BadInput(f"give {flag('lr', 0.5)}")

    monkeypatch.setattr(COMMANDS["train"], "run", fail)
    assert main(["train"]) == 2
    assert capsys.readouterr().err == "error: give --lr 0.5\n"
    assert flag("lr", 0.5) == "lr=0.5"
    with pytest.raises(SystemExit):
        main(["train", "--steps", "0"])
    assert flag("lr", 0.5) == "lr=0.5"


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_nobody_reads_what_is_said() -> None:
    """As in `ti-trainer inspect FILE | head -1`."""
    code = "from ti_trainer import cli; cli.COMMANDS['train'].run = lambda options: print('x' * 10**6)\n"
    code += "import sys; sys.exit(cli.main(['train']))"
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, stdout=theirs, stderr=subprocess.PIPE, check=False
    )
    os.close(theirs)
    assert (done.returncode, done.stderr) == (128 + 13, b"")
