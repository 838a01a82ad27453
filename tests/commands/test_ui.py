"""`ui`: what it refuses before it serves anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from ti_trainer.cli import main, parse


def test_other_machines_need_a_login(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ui", "--output", str(tmp_path / "runs"), "--host", "0.0.0.0"]) == 2
    assert "--host 0.0.0.0 lets other machines in: add --auth NAME:PASSWORD" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_there_is_no_public_link(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["ui", "--share"])
    assert "--share is not a flag of ti-trainer ui" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse(["ui", "--port", "99999"])
    assert "choose a number from 0 to 65535" in capsys.readouterr().err
