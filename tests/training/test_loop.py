"""Training: what moves, what does not, what a run leaves, and how it ends when it goes wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.drawing import draw_batch
from tests.learning import learners_of
from tests.running import MakeConfig, MakeTwo, checkpoint, exported, on_step
from ti_trainer import Run, train, train_all
from ti_trainer.config.settings import config_from_mapping, read_yaml
from ti_trainer.embedding_files import read_embedding
from ti_trainer.training.learner import Learner
from ti_trainer.training.prepare import Session


def test_training_lowers_the_fixed_noise_loss(make_config: MakeConfig) -> None:
    run = train(make_config(steps=60, lr=0.02, validate_every=10, validation_samples=16))
    start = train(make_config(steps=1, lr=0, validate_every=1, validation_samples=16, name="start"))
    before = start.history[0]["validation_loss"]
    after = [line["validation_loss"] for line in run.history if "validation_loss" in line]
    assert after[-1] < before - 0.03
    assert all(later < earlier + 0.005 for earlier, later in zip([before, *after], after, strict=False))


def test_gradients_in_parts_are_those_of_the_whole_batch(make_config: MakeConfig) -> None:
    runs = [
        train(make_config(batch_size=6, micro_batch_size=size, validate_every=0, name=f"at-once-{size}"))
        for size in (None, 2)  # 2: parts of 2, 2 and 2
    ]
    torch.testing.assert_close(exported(runs[1]), exported(runs[0]), rtol=1e-6, atol=1e-6)
    losses = [[line["loss"] for line in run.history] for run in runs]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


@pytest.mark.parametrize("size", [None, 1, 2, 3, 9])
def test_gradients_are_the_mean_over_each_concepts_examples(make_config: MakeConfig, size: int | None) -> None:
    """However the batch of 5 is cut, and also where more would go through the U-Net at once."""
    from ti_trainer.method.weightings import uniform
    from ti_trainer.training.objective import denoising_losses

    config = make_config(batch_size=5, micro_batch_size=size)
    step, (learner,) = learners_of([config])
    losses = step.backward([learner])
    (rows,) = learner.parameters
    found = rows.grad
    batch = draw_batch(learner.data, config.seed, 0, range(5), 5)
    wanted = denoising_losses(step.family, batch, uniform).mean()
    (gradient,) = torch.autograd.grad(wanted, [rows])
    assert [loss.item() for loss in losses] == pytest.approx([wanted.item()], rel=1e-6)
    assert gradient.norm() > 1e-3
    torch.testing.assert_close(found, gradient, rtol=1e-5, atol=2e-7)


def test_the_first_step_is_adams(make_config: MakeConfig) -> None:
    """Adam's first step is lr * gradient / |gradient|; the second is recomputed with torch's own optimiser."""
    config = make_config(lr=0.01, warmup_steps=1, weight_decay=0.1, max_grad_norm=0.002)
    step, (learner,) = learners_of([config])
    (rows,) = learner.parameters
    simple = torch.nn.Parameter(rows.detach().clone())
    adam = torch.optim.AdamW([simple], lr=1.0, weight_decay=0.1)
    for factor in (0.5, 1.0):  # warm-up
        (loss,) = step.backward([learner])
        simple.grad = rows.grad.clone()
        assert simple.grad.norm() > 0.002
        simple.grad *= 0.002 / (simple.grad.norm() + 1e-6)
        adam.param_groups[0]["lr"] = 0.01 * factor
        adam.step()
        learner.update(loss)
        assert learner.readings[-1].lr == pytest.approx(0.01 * factor)
        torch.testing.assert_close(rows, simple, rtol=1e-6, atol=1e-8)


def test_nothing_is_trained_but_the_rows(make_config: MakeConfig, sessions: list[Session]) -> None:
    train(make_config(steps=3, num_vectors=2))
    (session,) = sessions
    trained = [parameter for group in Learner(session).optimizer.param_groups for parameter in group["params"]]
    assert [tuple(parameter.shape) for parameter in trained] == [(2, 32)]
    assert trained[0] is session.rows["clip_l"]
    assert trained[0].dtype == torch.float32
    family = session.family
    for frozen in (family.denoiser, family.bring_vae(), family.slots[0].encoder):
        parameters = list(frozen.parameters())
        assert parameters
        assert not any(parameter.requires_grad or parameter.grad is not None for parameter in parameters)
        assert not any(parameter is trained[0] for parameter in parameters)


def test_config_file_trains_the_same_bytes_again(finished_run: Run, tmp_path: Path) -> None:
    saved = config_from_mapping(read_yaml(str(finished_run.folder / "config.yaml")))
    again = train(replace(saved, output=str(tmp_path)))
    assert again.folder != finished_run.folder
    for file in ("my-cat.safetensors", "diffusers/learned_embeds.safetensors"):
        assert (again.folder / file).read_bytes() == (finished_run.folder / file).read_bytes()
    other = train(replace(saved, output=str(tmp_path), seed=1, name="other"))
    assert not torch.equal(exported(other), exported(again))


def test_callbacks_get_every_line(make_two: MakeTwo) -> None:
    first: list[dict[str, Any]] = []
    second: list[dict[str, Any]] = []
    runs = train_all(make_two(steps=3), callbacks=[on_step(first.append), on_step(second.append)])
    assert first == second
    for run, token in zip(runs, ("<my-cat>", "<my-dog>"), strict=True):
        assert [line for line in first if line["token"] == token] == run.history
    assert [(line["step"], line["token"]) for line in first] == [
        (step, token) for step in (1, 2, 3) for token in ("<my-cat>", "<my-dog>")
    ]


def test_several_vectors(make_config: MakeConfig, model: Path, reference_pipeline: Callable[[Path], Any]) -> None:
    run = train(make_config(steps=4, num_vectors=4, init="a red cat"))
    pipeline = reference_pipeline(model)
    ids = pipeline.tokenizer("a red cat", add_special_tokens=False).input_ids
    words = pipeline.text_encoder.get_input_embeddings().weight[ids]
    start = checkpoint(run.folder, 0)["rows.clip_l"]
    assert torch.equal(start[1:], words)
    assert start[0].norm().item() == pytest.approx(words[2].norm().item())  # the row without a word stands in front
    moved = (checkpoint(run.folder, 4)["rows.clip_l"] - start).norm(dim=1)
    assert (moved > 1e-3).all()
    assert exported(run).shape == (4, 32)


def test_a_known_word_is_tuned(
    make_config: MakeConfig, model: Path, reference_pipeline: Callable[[Path], Any], sessions: list[Session]
) -> None:
    """Its rows move, the vocabulary does not, and the new trigger of the file means what the word came to mean."""
    run = train(make_config(token="cat", tune=True, init="auto", steps=6, lr=0.02, validate_every=0))
    pipeline = reference_pipeline(model)
    table = pipeline.text_encoder.get_input_embeddings().weight
    (cat,) = pipeline.tokenizer("cat", add_special_tokens=False).input_ids
    assert torch.equal(checkpoint(run.folder, 0)["rows.clip_l"], table[[cat]])
    assert torch.equal(sessions[0].family.slots[0].table, table)
    file = run.embedding
    assert file.name == "cat-tuned.safetensors"
    assert read_embedding(file).token == "<cat-tuned>"
    assert (exported(run) - table[cat]).norm() > 0.1

    pipeline.load_textual_inversion(str(run.folder / "diffusers" / "learned_embeds.safetensors"))
    with torch.no_grad():
        wanted, _ = pipeline.encode_prompt("a <cat-tuned> on the beach", torch.device("cpu"), 1, False)
        plain, _ = pipeline.encode_prompt("a cat on the beach", torch.device("cpu"), 1, False)
        assert not sessions[0].family.placeholders.present  # who has learned leaves
        sessions[0].family.placeholders.add("cat", sessions[0].rows)
        found = sessions[0].family.encode_text(["a cat on the beach"]).context
    torch.testing.assert_close(found, wanted, rtol=2e-6, atol=2e-6)
    assert (plain - wanted).abs().max() > 1e-2


def test_a_file_is_continued(make_config: MakeConfig, finished_run: Run) -> None:
    run = train(make_config(steps=2, init=f"file:{finished_run.embedding}"))
    start = checkpoint(run.folder, 0)["rows.clip_l"]
    assert torch.equal(start, exported(finished_run))
    assert not torch.equal(checkpoint(run.folder, 2)["rows.clip_l"], start)


def test_of_many_concepts_the_unfinished_ones_go_on(make_two: MakeTwo) -> None:
    """The first is published, the second was killed before it was, and the third has not begun."""
    cat, dog = make_two(steps=6)
    owl = replace(dog, name="owl", seed=3)
    wanted = train_all([cat, dog, owl])
    kept = {path: path.read_bytes() for run in wanted for path in run.folder.rglob("*.safetensors")}
    (wanted[1].folder.parent / "manifest" / "my-dog.json").unlink()
    (wanted[2].folder.parent / "manifest" / "owl.json").unlink()
    shutil.rmtree(wanted[2].folder)
    shown: list[tuple[int, str]] = []
    runs = train_all(
        [replace(config, resume=True) for config in (cat, dog, owl)],
        callbacks=[on_step(lambda line: shown.append((line["step"], line["token"])))],
    )
    assert shown == [(step, "<my-dog>") for step in range(1, 7)]  # the owl's
    assert [run.folder.name for run in runs] == ["my-dog", "owl"]
    assert runs[0].history == wanted[1].history
    for path, content in kept.items():
        if "owl" not in path.parts:
            assert path.read_bytes() == content, path
    torch.testing.assert_close(exported(runs[1]), exported(wanted[2]), rtol=1e-5, atol=1e-5)
