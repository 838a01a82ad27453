"""`suggest` on the command line; what it finds is tested with training/."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from ti_trainer import Concept, TrainConfig
from ti_trainer.cli import main
from ti_trainer.commands import suggest as command
from ti_trainer.training.suggestion import Suggestion, suggest


def test_what_is_printed(pictures: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["suggest", str(pictures), "--model", str(model), "--passes", "300", "--seed", "2"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    wanted = suggest(TrainConfig(Concept("<x>", str(pictures)), model=str(model), seed=2), None, 300)
    scene = f" --scene {shlex.quote(wanted.phrase.scene)}" if wanted.phrase.scene else ""
    assert shown.splitlines()[-1] == f"ti-trainer train --init {shlex.quote(wanted.phrase.subject)}{scene}"
    assert f"{wanted.phrase.text}: from 4 pictures in {wanted.passes} passes and " in shown
    assert main([*arguments, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["phrase"], figures["passes"]) == (wanted.phrase.subject, wanted.passes)


def test_what_was_found_until_it_was_stopped(
    pictures: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = suggest(TrainConfig(Concept("<x>", str(pictures)), model=str(model)), None, 300)
    stopped = Suggestion(whole.steps[:1], 4, 5, 1.0, KeyboardInterrupt())
    monkeypatch.setattr("ti_trainer.training.suggestion.suggest", lambda *arguments: stopped)
    assert main(["suggest", str(pictures), "--model", str(model)]) == 130
    found = capsys.readouterr()
    assert found.out.splitlines()[-1] == f"ti-trainer train --init {shlex.quote(stopped.phrase.text)}"
    assert found.err == "\nstopped\n"


def test_what_is_refused(pictures: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["suggest", str(pictures), "--model", str(model)]
    assert main(["suggest", str(tmp_path / "gone"), "--model", str(model)]) == 2
    assert "gone" in capsys.readouterr().err
    assert main([*arguments, "--passes", "10"]) == 2
    shown = capsys.readouterr().err
    assert "--passes 10 do not suffice to compare 5 words" in shown
    assert "--words FILE" in shown
    assert main([*arguments, "--words", str(tmp_path / "words.txt")]) == 2
    assert "words.txt cannot be read" in capsys.readouterr().err
    for flag in (["--passes", "0"], ["--steps", "3"], ["--init", "cat"]):
        with pytest.raises(SystemExit, match="2"):
            main([*arguments, *flag])


def test_settings_are_those_of_train() -> None:
    """The names of the settings that are taken over are right."""
    known = set(TrainConfig.__dataclass_fields__) | set(Concept.__dataclass_fields__)
    assert {*command.OF_CONCEPT, *command.OF_RUN} <= known
