"""No file of a stranger takes long, eats the memory or ends in anything but a sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping

import pytest

from tests.strangers.bad_inputs import CASES

SECONDS = 2.0  # of the processor in the program itself, so that a busy machine changes nothing
MIB = 500.0

Outcome = tuple[str, float, float]  # what was said, seconds, MiB


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Outcome]:
    """What became of every case, in a process of its own: a reader may end it."""
    command = [sys.executable, "-m", "tests.strangers.budget", str(tmp_path_factory.mktemp("cases"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]
    return {case: tuple(rest) for case, *rest in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("case", CASES)
def test_budget(outcomes: Mapping[str, Outcome], case: str) -> None:
    wanted = CASES[case][-1]
    said, seconds, mib = outcomes[case]
    assert wanted in said
    assert bool(wanted) == bool(said)
    assert said.isprintable()
    assert len(said) < 1_000
    assert seconds < SECONDS
    assert mib < MIB
