"""`python -m ti_trainer` is the program `ti-trainer`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PROGRAM = "import sys; from ti_trainer.cli import main; sys.argv[0] = 'ti-trainer'; sys.exit(main())"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], cwd=REPOSITORY, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["trian"], ["train", "--tokn", "<x>"], []])
def test_it_says_and_returns_the_same(arguments: list[str]) -> None:
    module, program = run("-m", "ti_trainer", *arguments), run("-c", PROGRAM, *arguments)
    assert module.stdout == program.stdout
    assert module.stderr == program.stderr
    assert module.returncode == program.returncode == (0 if "--help" in arguments else 2)
    assert module.stdout or module.stderr


def test_importing_it_runs_nothing() -> None:
    done = run("-c", "import ti_trainer.__main__; print('imported')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "imported\n", "")


# What a child process does in the place of a command; `press()` is Ctrl-C.
PRESSED = {
    "while it is imported": "sys.modules.pop('ti_trainer.cli', None); sys.meta_path.insert(0, Finder())",
    "while flags are parsed": "cli.parse = lambda arguments: press()",
    "while a command runs": "cli.COMMANDS['train'].run = lambda options: press()",
    "and again while it ends": "cli.COMMANDS['train'].run = lambda options: press_twice()",
    "and again on the way out": "atexit.register(press); cli.COMMANDS['train'].run = lambda options: press()",
}
CHILD = """
import atexit, signal, sys
from ti_trainer import cli
from ti_trainer.__main__ import program

def press(*_):
    signal.raise_signal(signal.SIGINT)

def press_twice():
    try:
        press()
    finally:
        press()

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "ti_trainer.cli":
            press()

{change}
program(["train"])
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("moment", PRESSED)
def test_control_c_is_quiet(moment: str) -> None:
    """No traceback, and no message but that it stopped: a second one ends the process as it is."""
    done = run("-c", CHILD.replace("{change}", PRESSED[moment]))
    assert done.returncode == 130
    assert done.stdout == ""
    assert done.stderr in ("", "\nstopped\n")
