"""Evaluations against their single pictures, drawn and measured one arm at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.evaluations import Told, evaluation
from ti_trainer import BadInput, Concept, ModelConfig, Run
from ti_trainer.embedding_files import Embedding, read_embedding, write_embedding
from ti_trainer.embedding_files.metadata import NEGATIVE
from ti_trainer.families import load_with_embeddings
from ti_trainer.method.bootstrap import mean_intervals
from ti_trainer.reports.arms import read_subject
from ti_trainer.reports.evaluation import (
    choose_checkpoint,
    draw_in_scenes,
    evaluate_file,
    settings_of_subject,
)
from ti_trainer.reports.measures import open_judge
from ti_trainer.reports.previews import generate
from ti_trainer.reports.prompts import Prompt
from ti_trainer.reports.scorers import Source

TOKEN = "<my-cat>"
HOW: dict[str, Any] = {"steps": 2, "guidance": 3.0}


@pytest.fixture
def other(finished_run: Run, tmp_path: Path) -> str:
    """Another embedding of the same token."""
    found = read_embedding(finished_run.embedding)
    write_embedding(Embedding(TOKEN, {"clip_l": -found.vectors["clip_l"]}), tmp_path / "other.safetensors", "webui")
    return str(tmp_path / "other.safetensors")


def test_every_arm_is_drawn_from_the_same_prompts_and_noise(
    model: Path,
    clip_folder: Path,
    judge_folder: Path,
    finished_run: Run,
    other: str,
    pictures: Path,
    images: list[Image.Image],
    tmp_path: Path,
) -> None:
    (tmp_path / "prompts.txt").write_text("a {token}\na {token} in the snow\n")
    settings = {"model": str(model), "images": str(pictures)}
    _, found = evaluate_file(
        str(finished_run.embedding),
        settings,
        against=[other],
        judge=[str(clip_folder), str(judge_folder)],
        prompts=[str(tmp_path / "prompts.txt")],
        seeds=2,
        seed=5,
        **HOW,
    )
    names = [TOKEN, '"cat", untrained', other]
    assert [arm.name for arm in found.arms] == names
    assert len(found.references) == 4
    judges = [open_judge(Source(str(folder)), images[:4]) for folder in (clip_folder, judge_folder)]
    prompts = (Prompt("a {token}"), Prompt("a {token} in the snow"))
    for name, word, file in zip(names, (TOKEN, "cat", TOKEN), (finished_run.embedding, None, other), strict=True):
        family = load_with_embeddings(ModelConfig(model=str(model)), [read_embedding(file)] if file else [])
        drawn = [generate(family, [f"a {word}", f"a {word} in the snow"], seed, **HOW) for seed in (5, 6)]
        assert [image.tobytes() for image in found.shown[name]] == [image.tobytes() for image in drawn[0]]
        for judge, values in zip(judges, found.values[name], strict=True):
            wanted = judge.values([*drawn[0], *drawn[1]], prompts * 2, "cat")
            assert values.keys() == wanted.keys()
            for measure, each in wanted.items():
                torch.testing.assert_close(values[measure], each, rtol=1e-5, atol=1e-7)
    assert found.values[TOKEN][0]["prompt without noun"].shape == (2,)  # of two seeds and one prompt


def test_differences_are_paired() -> None:
    """Picture by picture: as much as all have in common changes nothing."""
    draws = torch.randn(3, 50, generator=torch.Generator().manual_seed(0)).double()
    common, own, others = 100 * draws[0], 0.1 * draws[1] + 1, 0.1 * draws[2]
    values = {TOKEN: common + own, "x": common + others, "y": common}
    found = evaluation({arm: {"a.identity": each.tolist()} for arm, each in values.items()}, [Told("a", ("identity",))])
    for (mean, low, high), apart in zip(
        found.differences(found.arms[1:], 0, "identity"), (own - others, own), strict=True
    ):
        ends = mean_intervals(apart[:, None], seed=7)
        assert mean == pytest.approx(apart.mean().item(), abs=1e-4)
        assert (low, high) == pytest.approx(tuple(end.item() for end in ends), abs=1e-4)
        assert 0.8 < low < mean < high < 1.2


def test_the_best_checkpoint() -> None:
    """Identity is that of the first judge that tells it, and prompt that of the first that reads."""
    values = {
        TOKEN: {"a.identity": [9.0], "b.identity": [9.0], "b.prompt": [9.0]},
        "step 0": {"a.identity": [0.2], "b.identity": [0.9], "b.prompt": [0.4]},  # product .08
        "step 20": {"a.identity": [0.5], "b.identity": [0.1], "b.prompt": [0.3]},  # .15
        "step 40": {"a.identity": [0.6], "b.identity": [0.1], "b.prompt": [0.2]},  # .12
        "step 60": {"a.identity": [-0.9], "b.identity": [0.1], "b.prompt": [-0.9]},
    }
    judges = [Told("a", ("identity",)), Told("b", ("identity", "prompt"))]
    found = evaluation(values, judges)
    chosen = {best: choose_checkpoint(found, best) for best in ("identity", "prompt", "both")}
    assert {best: arm.step for best, (arm, _) in chosen.items()} == {"identity": 40, "prompt": 0, "both": 20}
    assert chosen["both"][1] == "identity (a) x prompt (b)"
    without = replace(found, judges=found.judges[:1])
    assert choose_checkpoint(without, "identity")[0].step == 40
    with pytest.raises(
        BadInput, match='best="both" needs a judge that measures prompt: add judge="openai/clip-vit-base-patch32"'
    ):
        choose_checkpoint(without, "both")


def test_checkpoints_of_a_run_with_its_own_model_and_pictures(dino_folder: Path, finished_run: Run) -> None:
    subject, found = evaluate_file(
        str(finished_run.folder), {}, judge=[str(dino_folder)], seeds=1, checkpoints=True, best="identity", **HOW
    )
    assert [arm.step for arm in found.arms] == [None, None, 0, 2, 4, 6, 8]
    assert found.drawing.model == subject.config.model
    own = {arm.step: found.values[arm.name][0]["identity"] for arm in found.arms[2:]}
    best_step = int(subject.embedding.metadata["ti_trainer.step"])
    torch.testing.assert_close(own[best_step], found.values[TOKEN][0]["identity"])
    assert not torch.allclose(own[0], own[8])


def test_settings_are_the_runs_unless_others_are_given(finished_run: Run, model: Path, pictures: Path) -> None:
    run = read_subject(str(finished_run.folder))
    assert settings_of_subject(run, {}) == (
        ModelConfig(model=str(model)),
        Concept(TOKEN, str(pictures), init="cat"),
    )
    given = settings_of_subject(run, {"images": "photos", "masks": "none", "model": "sd15", "clip_skip": 1})
    assert given == (ModelConfig(model="sd15", clip_skip=1), Concept(TOKEN, "photos", init="cat", masks="none"))
    file = read_subject(str(finished_run.embedding))
    assert settings_of_subject(file, {}) == (ModelConfig(), Concept(TOKEN))
    with pytest.raises(BadInput, match="there is nothing to compare with: give the concept's pictures, images="):
        settings_of_subject(file, {"model": "sd15"})


def test_nothing_is_drawn_for_what_cannot_work(dino_folder: Path, finished_run: Run, tmp_path: Path) -> None:
    run = str(finished_run.folder)
    with pytest.raises(BadInput, match="needs a judge that measures prompt"):
        evaluate_file(run, {}, judge=[str(dino_folder)], checkpoints=True)
    with pytest.raises(BadInput, match="cannot be loaded"):
        evaluate_file(run, {}, judge=[str(tmp_path)])
    with pytest.raises(BadInput, match=r"gone\.safetensors cannot be read: No such file"):
        evaluate_file(run, {}, against=["gone.safetensors"])
    unwanted = read_embedding(finished_run.embedding)
    marked = replace(unwanted, metadata={**unwanted.metadata, NEGATIVE: "true"})
    write_embedding(marked, tmp_path / "unwanted.safetensors", "webui")
    with pytest.raises(BadInput, match="'<my-cat>' is for the negative prompt"):
        evaluate_file(run, {}, against=[str(tmp_path / "unwanted.safetensors")])


def test_scenes_follow_each_other(model: Path) -> None:
    family = load_with_embeddings(ModelConfig(model=str(model)), [])
    prompts, scenes, drawn = draw_in_scenes(family, "cat", 8, 3, **HOW)
    wanted = ["", "on grass", "in the snow", "at night", "on the beach", "at sunset", "", "on grass"]
    assert prompts == [f"a photo of a cat {scene}".strip() for scene in wanted]
    assert scenes == [None, "grass", "snow", "night", "beach", "sunset", None, "grass"]
    same = generate(family, prompts, 3, **HOW)
    assert [image.tobytes() for image in drawn] == [image.tobytes() for image in same]
