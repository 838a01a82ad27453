"""What a machine has, and what follows from it."""

from __future__ import annotations

import json
from collections import namedtuple
from pathlib import Path

import pytest

from ti_trainer.reports import health
from ti_trainer.reports.health import Finding, as_json, as_text, disk, extras, look, of, packages


def test_packages_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not packages().fails
    assert "torch 2." in packages().value
    monkeypatch.setattr(health, "installed", lambda name: None if name == "diffusers" else "1.0")
    found = packages()
    assert (found.fails, found.advice) == (True, "pip install diffusers")


def test_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "metadata", lambda name: type("M", (), {"get_all": lambda self, key: ["ui", "ray"]})())
    monkeypatch.setattr(
        health, "requires", lambda name: ['gradio>=6; extra == "ui"', "ray>=2 ; extra == 'ray'", "torch"]
    )
    monkeypatch.setattr(health, "installed", lambda name: "1.0" if name == "gradio" else None)
    assert extras().value == "ui; not here: ray"
    assert [of(line) for line in ("torch<3,>=2.6", "a[b]>=1", "c ; extra == 'x'", "d")] == ["torch", "a", "c", "d"]


def test_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not disk(str(tmp_path / "a" / "b")).fails
    assert "is a URL" in disk("s3://bucket/runs").value
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(health.shutil, "disk_usage", lambda place: usage(10, 10, 10))
    found = disk(str(tmp_path))
    assert (found.fails, found.advice) == (True, "make room, or choose another folder")


def test_how_it_is_shown() -> None:
    findings = [Finding("a", "1"), Finding("b", "2", "do this"), Finding("c", "3", "or else", True)]
    assert "\n".join(map(as_text, findings)) == (
        "a:         1\nb:         2\n           note: do this\nc:         3\n           FAILS: or else"
    )
    told = json.loads(as_json(findings))
    assert told["healthy"] is False
    assert told["findings"][2] == {"name": "c", "value": "3", "advice": "or else", "fails": True}
    assert json.loads(as_json(findings[:2]))["healthy"] is True


def test_everything_is_looked_at(tmp_path: Path) -> None:
    names = [finding.name for finding in look(str(tmp_path))]
    assert names[:1] == ["python"]
    assert names[-1] == "device"
