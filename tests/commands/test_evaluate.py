"""`evaluate` on the command line; its figures are tested with reports/."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.tiny_judge import build_clip, build_dino
from ti_trainer import ModelConfig, Run
from ti_trainer.cli import main
from ti_trainer.commands.evaluate import add_flags
from ti_trainer.commands.flags import Parser
from ti_trainer.config.bundled import JUDGE, MY_CAT, TINY_CLIP, TINY_SD
from ti_trainer.embedding_files import Embedding, write_embedding
from ti_trainer.families import load_family
from ti_trainer.reports.evaluation import BEST, evaluate_file
from ti_trainer.reports.evaluation_report import figures_of, report_text


@pytest.fixture
def embedding(tmp_path: Path) -> str:
    """The word "dog" of the bundled model, as an embedding."""
    (slot,) = load_family(ModelConfig(), torch.device("cpu"), torch.float32).slots
    (dog,) = slot.tokenizer("dog", add_special_tokens=False).input_ids
    rows = slot.table[dog : dog + 1].clone()
    write_embedding(Embedding("<my-cat>", {"clip_l": rows}), tmp_path / "x.safetensors", "webui")
    return str(tmp_path / "x.safetensors")


def test_flags_are_what_evaluate_file_is_given(
    embedding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Defaults too: the bundled pictures, judges and model, the scenes, and the guidance of previews."""
    monkeypatch.chdir(tmp_path)
    how = ["--seeds", "1", "--seed", "3", "--steps", "2", "--word", "dog"]
    assert main(["evaluate", embedding, *how]) == 0
    found = json.loads(Path("evaluation/my-cat/evaluation.json").read_text())
    settings = {"model": TINY_SD, "images": MY_CAT}
    judges = [TINY_CLIP, JUDGE]
    wanted = figures_of(*evaluate_file(embedding, settings, judge=judges, seeds=1, seed=3, steps=2, word="dog"))
    assert found == wanted
    assert found["guidance"] == 5.0
    identity = found["figures"][0]
    assert identity["means"]["<my-cat>"] == pytest.approx(identity["means"]['"dog", untrained'], rel=1e-3)
    pictures = "pictures: evaluation/my-cat/pictures.png; all figures: evaluation/my-cat/evaluation.json\n"
    assert capsys.readouterr().out == f"{report_text(wanted, False)}\n\n{pictures}"


def test_a_run_and_its_checkpoints(finished_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judges = [str(build_dino(tmp_path / "dino")), str(build_clip(tmp_path / "clip"))]
    arguments = ["evaluate", str(finished_run.folder), "--checkpoints", "--best", "identity", "--seeds", "1"]
    arguments += ["--judge", *judges, "--against", str(finished_run.embedding)]
    arguments += ["--steps", "1", "--output", str(tmp_path / "out"), "--json"]
    assert main(arguments) == 0
    figures = json.loads(capsys.readouterr().out)
    assert [judge["kind"] for judge in figures["judges"]] == ["dinov2", "clip"]
    means = figures["figures"][0]["means"]
    assert means[str(finished_run.embedding)] == means["<my-cat>"]
    steps = {name: mean for name, mean in means.items() if name.startswith("step ")}
    assert list(steps) == ["step 0", "step 2", "step 4", "step 6", "step 8"]
    assert figures["best"]["arm"] == max(steps, key=lambda name: steps[name])
    assert figures["best"]["file"] == str(tmp_path / "out" / "my-cat.safetensors")
    assert Path(figures["best"]["file"]).is_file()


def test_what_is_refused(embedding: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "prompts.txt").write_text("a cat at night\n")
    for arguments, message in (
        ([str(tmp_path / "gone.safetensors")], "gone.safetensors cannot be read: No such file"),
        ([embedding, "--judge", "gone/clip", "--offline"], "--judge gone/clip cannot be loaded: "),
        ([embedding, "--images", str(tmp_path)], f"--images {tmp_path} holds no pictures"),
        ([embedding, "--masks", str(tmp_path)], "not one picture has such a mask; name the masks like their pictures"),
        ([embedding, "--prompts", str(tmp_path / "prompts.txt")], "without the token: write {token} where it goes"),
        ([embedding, "--checkpoints"], "holds no checkpoints; give the folder of a run"),
        ([embedding, "--model", "models/sd15"], "give the concept's pictures, --images DIR"),
        ([embedding, "--against", "gone.pt"], "gone.pt cannot be read"),
    ):
        assert main(["evaluate", *arguments]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["evaluate", embedding, "--seeds", "0"])
    assert capsys.readouterr().err == "error: --seeds is 0; choose a number from 1 to 1000\n"


def test_what_is_best_is_a_key_of_the_table() -> None:
    """The flag names them itself, because the table lies where the large libraries are."""
    parser = Parser(prog="evaluate")
    add_flags(parser)
    (choices,) = (action.choices for action in parser._actions if action.dest == "best")
    assert set(choices) == set(BEST)
