"""`doctor`: quick first lines, an exit status for programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ti_trainer.cli import main


def test_it_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--output", str(tmp_path / "runs")]) == 0
    said = capsys.readouterr().out
    names = [line.partition(":")[0] for line in said.splitlines() if not line.startswith(" ")]
    assert names == ["python", "packages", "extras", "output", "hub", "models", "memory", "device"]
    assert not (tmp_path / "runs").exists()  # nothing is made


def test_a_folder_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["doctor", "--output", str(tmp_path / "file" / "runs"), "--json"]) == 1
    told = capsys.readouterr()
    report = json.loads(told.out)
    assert report["healthy"] is False
    assert [each["name"] for each in report["findings"] if each["fails"]] == ["output"]
    assert "training would fail here, see output" in told.err


def test_the_first_line_comes_before_torch() -> None:
    """Nothing heavy is loaded for it; how quick that is, is told by benchmarks and not asserted."""
    code = (
        "import sys\nfrom ti_trainer.reports.health import look\n"
        "for finding in look('runs'):\n    print(finding.name, 'torch' in sys.modules, flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ), cwd="/"
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [name for name, is_loaded in lines if is_loaded == "True"] == ["device"]
