"""What goes on, as JSON lines."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.running import MakeTwo
from ti_trainer import Concept, train_all
from ti_trainer.config.config import Origin
from ti_trainer.errors import Incomplete
from ti_trainer.training import json_lines
from ti_trainer.training.json_lines import JsonLines


def test_a_job_in_lines(
    make_two: MakeTwo, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_lines, "EVERY", 0.0)
    cat, dog = make_two(steps=4, validate_every=2, preview_every=2, plots=True)
    cat = replace(cat, origin=Origin(None, {"customer": "Ada"}))
    bad = replace(dog, concept=Concept("<bad>", str(tmp_path / "nothing")), origin=Origin(None, {"order": 7}))
    lines = JsonLines()
    with pytest.raises(Incomplete):
        train_all([cat, bad, dog], [lines], console=lines)
    said = capsys.readouterr()
    assert said.err == ""
    events: list[dict[str, Any]] = [json.loads(line) for line in said.out.splitlines()]
    assert [each["seconds"] for each in events] == sorted(each["seconds"] for each in events)
    kinds = [each["event"] for each in events]
    assert kinds[0] == "expected"
    assert sum(each["concepts"] for each in events if each["event"] == "expected") == 3
    of = {kind: [each for each in events if each["event"] == kind] for kind in dict.fromkeys(kinds)}
    assert [(each["run"], each["token"], each["columns"], each["steps"]) for each in of["started"]] == [
        ("my-cat", "<my-cat>", {"customer": "Ada"}, 4),
        ("my-dog", "<my-dog>", {}, 4),
    ]
    assert [(each["run"], each["step"]) for each in of["step"] if each["run"] == "my-cat"] == [
        ("my-cat", step) for step in (1, 2, 3, 4)
    ]
    assert all(each["loss"] > 0 for each in of["step"])
    assert {each["step"] for each in of["measured"]} == {0, 2, 4}
    assert all(Path(file).exists() for each in of["preview"] for file in each["pictures"])
    (failed,) = of["failed"]
    assert (failed["run"], failed["code"], failed["columns"]) == ("bad", "bad_input", {"order": 7})
    assert "does not exist" in failed["reason"]
    assert all(Path(each["embedding"]).exists() for each in of["finished"])
    assert events[-1] == {"event": "done", "seconds": events[-1]["seconds"], "finished": 2, "failed": 1}

    with pytest.raises(Incomplete):
        train_all([replace(each, resume=True) for each in (cat, bad, dog)], [lines], console=JsonLines())
    again = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["run"], each["why"]) for each in again if each["event"] == "passed"] == [
        ("my-cat", "is finished already"),
        ("my-dog", "is finished already"),
    ]


def test_steps_are_told_once_a_second(make_two: MakeTwo, capsys: pytest.CaptureFixture[str]) -> None:
    lines = JsonLines()
    train_all(make_two(steps=6, validate_every=0, plots=False), [lines], console=lines)
    steps = [each for each in map(json.loads, capsys.readouterr().out.splitlines()) if each["event"] == "step"]
    assert len(steps) < 12
    assert {each["run"] for each in steps} == {"my-cat", "my-dog"}
