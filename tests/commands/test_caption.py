"""`caption` on the command line; what it finds is tested with training/."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ti_trainer import TrainConfig
from ti_trainer.cli import main
from ti_trainer.commands import caption as command
from ti_trainer.config.concept import Concept
from ti_trainer.training.captioning import Captioning, write_captions


def test_what_is_printed_and_written(
    pictures: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(pictures, tmp_path / "pictures")
    phrases = tmp_path / "phrases.txt"
    phrases.write_text("in the snow\non the beach\n", encoding="utf-8")
    concept = Concept("<my-dog>", str(folder))
    wanted: list[str] = []
    config = TrainConfig(concept, model=str(model), seed=2)
    write_captions(config, Captioning(subject="red dog", phrases=str(phrases)), True, wanted.append)
    arguments = ["caption", str(folder), "--token", "<my-dog>", "--subject", "red dog", "--phrases", str(phrases)]
    arguments += ["--model", str(model), "--seed", "2"]
    assert main([*arguments, "--dry_run"]) == 0
    assert capsys.readouterr().out.splitlines() == wanted
    assert wanted[-1] == "4 captions would be written"
    assert not list(folder.glob("*.txt"))
    assert main(arguments) == 0
    assert capsys.readouterr().out.splitlines() == [*wanted[:-1], "4 captions written"]
    for line in wanted[:-1]:
        name, _, text = line.partition(": ")
        assert Path(name).read_text(encoding="utf-8") == f"{text}\n"


def test_what_is_refused(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["caption", str(pictures)]) == 2
    assert "token" in capsys.readouterr().err
    assert main(["caption", str(pictures), "--token", "My Cat"]) == 2
    assert "'<my-cat>' would do" in capsys.readouterr().err
    assert main(["caption", str(pictures), "--token", "<a>"]) == 2
    assert f"--images {pictures} needs --model" in capsys.readouterr().err
    assert main(["caption", str(tmp_path / "gone"), "--token", "<a>", "--model", "tiny-sd"]) == 2
    assert "gone does not exist" in capsys.readouterr().err
    assert main(["caption", str(pictures), "--token", "<a>", "--captioner", "x", "--clip", "y"]) == 2
    assert "--captioner writes sentences of its own, without --clip; leave out one of them" in capsys.readouterr().err
    for flag in (["--steps", "3"], ["--init", "cat"], []):
        with pytest.raises(SystemExit, match="2"):
            main(["caption", *([str(pictures)] if flag else []), "--token", "<a>", *flag])


def test_settings_are_those_of_train() -> None:
    """The names of the settings that are taken over are right."""
    known = set(TrainConfig.__dataclass_fields__) | set(Concept.__dataclass_fields__)
    assert {*command.OF_CONCEPT, *command.OF_RUN} <= known
    assert set(command.OWN) == set(Captioning.__dataclass_fields__)
