"""`python -m ti_trainer` is the program `ti-trainer`."""

from __future__ import annotations

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
