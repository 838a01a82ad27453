"""Training: what moves, what does not, what a run leaves, and how it ends when it goes wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

import ti_trainer.training.loop
from tests.drawing import draw_batch
from tests.learning import learners_of
from ti_trainer import Run, TrainConfig, train, train_all
from ti_trainer.config.settings import config_from_mapping, read_yaml
from ti_trainer.data.batches import draw_example
from ti_trainer.embedding_files import read_embedding
from ti_trainer.errors import Diverged, Incomplete
from ti_trainer.method.initializers import DEFAULT_VECTORS
from ti_trainer.training.learner import Learner
from ti_trainer.training.prepare import Session

MakeConfig = Callable[..., TrainConfig]
MakeTwo = Callable[..., list[TrainConfig]]
TOKEN = "<my-cat>"


def exported(run: Run) -> Tensor:
    return read_embedding(run.embedding).vectors["clip_l"]


def checkpoint(folder: Path, step: int) -> dict[str, Tensor]:
    return load_file(folder / "checkpoints" / f"step-{step:06d}.safetensors")


def poison(monkeypatch: pytest.MonkeyPatch, token: str, picture: int, value: float) -> None:
    """Put a number that is none into the cached latents of one picture of a concept."""

    def prepare(*arguments: Any) -> Session:
        session = original(*arguments)
        if session.data.token == token:
            session.data.views[picture][0].posterior.mean[0, 0, 0] = value
        return session

    original = ti_trainer.training.loop.prepare
    monkeypatch.setattr(ti_trainer.training.loop, "prepare", prepare)


def test_training_lowers_the_fixed_noise_loss(make_config: MakeConfig) -> None:
    run = train(make_config(steps=60, lr=0.02, validate_every=10, validation_samples=16, plots=False))
    start = train(make_config(steps=1, lr=0, validate_every=1, validation_samples=16, plots=False, name="start"))
    before = start.history[0]["validation_loss"]
    after = [line["validation_loss"] for line in run.history if "validation_loss" in line]
    assert after[-1] < before - 0.03
    assert all(later < earlier + 0.005 for earlier, later in zip([before, *after], after, strict=False))


def test_gradients_in_parts_are_those_of_the_whole_batch(make_config: MakeConfig) -> None:
    runs = [
        train(make_config(batch_size=6, micro_batch_size=size, validate_every=0, plots=False, name=f"at-once-{size}"))
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
    losses = step.gradients([learner])
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
        (loss,) = step.gradients([learner])
        simple.grad = rows.grad.clone()
        assert simple.grad.norm() > 0.002
        simple.grad *= 0.002 / (simple.grad.norm() + 1e-6)
        adam.param_groups[0]["lr"] = 0.01 * factor
        adam.step()
        learner.update(loss)
        assert learner.readings[-1].lr == pytest.approx(0.01 * factor)
        torch.testing.assert_close(rows, simple, rtol=1e-6, atol=1e-8)


def test_nothing_is_trained_but_the_rows(make_config: MakeConfig, sessions: list[Session]) -> None:
    train(make_config(steps=3, num_vectors=2, plots=False))
    (session,) = sessions
    trained = [parameter for group in Learner(session).optimizer.param_groups for parameter in group["params"]]
    assert [tuple(parameter.shape) for parameter in trained] == [(2, 32)]
    assert trained[0] is session.rows["clip_l"]
    assert trained[0].dtype == torch.float32
    family = session.family
    for frozen in (family.denoiser, family.vae, family.slots[0].encoder):
        parameters = list(frozen.parameters())
        assert parameters
        assert not any(parameter.requires_grad or parameter.grad is not None for parameter in parameters)
        assert not any(parameter is trained[0] for parameter in parameters)


def test_what_lies_in_the_run_folder(finished_run: Run) -> None:
    found = {str(path.relative_to(finished_run.folder)) for path in finished_run.folder.rglob("*") if path.is_file()}
    steps = {f"checkpoints/step-{step:06d}.safetensors" for step in (0, 2, 4, 6, 8)}
    expected = {"config.yaml", "my-cat.safetensors", "diffusers/learned_embeds.safetensors", "metrics.jsonl"}
    assert found - {".lock"} == expected | {"loss.png", "before_after.png"} | steps
    assert finished_run.folder.name == "my-cat"
    assert finished_run.embedding == finished_run.folder / "my-cat.safetensors"
    assert finished_run.embedding.stat().st_size < 8192
    assert (finished_run.folder / "checkpoints" / "step-000008.safetensors").stat().st_size < 8192
    plain = load_file(finished_run.folder / "my-cat.safetensors")
    other = load_file(finished_run.folder / "diffusers" / "learned_embeds.safetensors")
    assert list(plain) == ["emb_params"]
    assert list(other) == [TOKEN]
    assert plain["emb_params"].shape == (DEFAULT_VECTORS, 32)
    assert torch.equal(plain["emb_params"], other[TOKEN])
    for name in ("loss.png", "before_after.png"):
        with Image.open(finished_run.folder / name) as picture:
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 20  # something is drawn


def test_metrics(finished_run: Run) -> None:
    lines = [json.loads(line) for line in (finished_run.folder / "metrics.jsonl").read_text().splitlines()]
    assert lines == finished_run.history
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert [line["step"] for line in lines if "validation_loss" in line] == [4, 8]
    assert {line["lr"] for line in lines} == {TrainConfig.lr}
    first, last = (checkpoint(finished_run.folder, step)["rows.clip_l"] for step in (0, 8))
    cosine = torch.nn.functional.cosine_similarity(first, last).mean().item()
    assert lines[-1]["cosine_to_init"] == pytest.approx(cosine, rel=1e-5)
    assert all(later["seconds"] >= earlier["seconds"] for earlier, later in pairwise(lines))


def test_norm_ratio_is_in_units_of_a_typical_word(
    finished_run: Run, model: Path, reference_pipeline: Callable[[Path], Any]
) -> None:
    table = reference_pipeline(model).text_encoder.get_input_embeddings().weight
    last = checkpoint(finished_run.folder, 8)["rows.clip_l"]
    wanted = last.norm(dim=1).mean() / table.norm(dim=1).mean()
    assert finished_run.history[-1]["norm_ratio"] == pytest.approx(wanted.item(), rel=1e-5)


def test_config_file_trains_the_same_bytes_again(finished_run: Run, tmp_path: Path) -> None:
    saved = config_from_mapping(read_yaml(str(finished_run.folder / "config.yaml")))
    again = train(replace(saved, output=str(tmp_path), plots=False))
    assert again.folder != finished_run.folder
    for file in ("my-cat.safetensors", "diffusers/learned_embeds.safetensors"):
        assert (again.folder / file).read_bytes() == (finished_run.folder / file).read_bytes()
    other = train(replace(saved, output=str(tmp_path), plots=False, seed=1, name="other"))
    assert not torch.equal(exported(other), exported(again))


def test_callbacks_get_every_line(make_two: MakeTwo) -> None:
    first: list[dict[str, Any]] = []
    second: list[dict[str, Any]] = []
    runs = train_all(make_two(steps=3, plots=False), callbacks=[first.append, second.append])
    assert first == second
    for run, token in zip(runs, ("<my-cat>", "<my-dog>"), strict=True):
        assert [line for line in first if line["token"] == token] == run.history
    assert [(line["step"], line["token"]) for line in first] == [
        (step, token) for step in (1, 2, 3) for token in ("<my-cat>", "<my-dog>")
    ]


def test_files_of_several_concepts(make_two: MakeTwo) -> None:
    runs = train_all(make_two(steps=2, preview_every=1))
    output = runs[0].folder.parent
    for run, name, count in zip(runs, ("my-cat", "my-dog"), (2, 1), strict=True):
        assert run.folder == output / name
        assert run.embedding == run.folder / f"{name}.safetensors"
        assert exported(run).shape == (count, 32)
        assert list(load_file(run.folder / "diffusers" / "learned_embeds.safetensors")) == [f"<{name}>"]
        assert [path.name for path in (run.folder / "previews").iterdir()] == ["step-000001.png"]
        assert {line["token"] for line in run.history} == {f"<{name}>"}
        assert [line["step"] for line in run.history] == [1, 2]


def test_several_vectors(make_config: MakeConfig, model: Path, reference_pipeline: Callable[[Path], Any]) -> None:
    run = train(make_config(steps=4, num_vectors=4, init="a red cat", plots=False))
    pipeline = reference_pipeline(model)
    ids = pipeline.tokenizer("a red cat", add_special_tokens=False).input_ids
    words = pipeline.text_encoder.get_input_embeddings().weight[ids]
    start = checkpoint(run.folder, 0)["rows.clip_l"]
    assert torch.equal(start[:3], words)
    assert 0 < (start[3] - words[2]).norm() < 0.5 * words[2].norm()
    moved = (checkpoint(run.folder, 4)["rows.clip_l"] - start).norm(dim=1)
    assert (moved > 1e-3).all()
    assert exported(run).shape == (4, 32)


def test_a_known_word_is_tuned(
    make_config: MakeConfig, model: Path, reference_pipeline: Callable[[Path], Any], sessions: list[Session]
) -> None:
    """Its rows move, the vocabulary does not, and the new trigger of the file means what the word came to mean."""
    run = train(make_config(token="cat", tune=True, init="auto", steps=6, lr=0.02, validate_every=0, plots=False))
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
    run = train(make_config(steps=2, init=f"file:{finished_run.embedding}", plots=False))
    start = checkpoint(run.folder, 0)["rows.clip_l"]
    assert torch.equal(start, exported(finished_run))
    assert not torch.equal(checkpoint(run.folder, 2)["rows.clip_l"], start)


def first_step_that_draws(config: TrainConfig, session: Session, picture: int) -> int:
    """The number of the first step (from 0) whose batch shows a picture."""
    data = session.data
    for step in range(config.steps):
        for index in range(config.batch_size):
            if draw_example(data, config.seed, step, index, config.batch_size).view is data.views[picture][0]:
                return step
    raise AssertionError("no step shows it")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_at_the_last_good_step(
    make_config: MakeConfig, sessions: list[Session], monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    """One picture's latents are poisoned; the rows saved are those of an undisturbed run before it was ever shown."""
    config = make_config(steps=40, batch_size=1, checkpoint_every=1, validate_every=0, plots=False)
    clean = train(replace(config, name="clean", steps=16))
    starts = [first_step_that_draws(config, sessions[0], picture) for picture in range(4)]
    picture = max(range(4), key=starts.__getitem__)
    bad_step = starts[picture]
    assert 2 <= bad_step < 16

    poison(monkeypatch, TOKEN, picture, value)
    with pytest.raises(Diverged, match=rf"at step {bad_step + 1};.*lower --lr than {TrainConfig.lr}"):
        train(config)
    folder = Path(config.output) / "my-cat"
    good = bad_step - 1  # the last step whose rows gave a loss that is a number
    saved = sorted(int(path.stem[5:]) for path in (folder / "checkpoints").iterdir())
    assert saved == list(range(good + 1))
    wanted = checkpoint(clean.folder, good)["rows.clip_l"]
    for name, tensor in checkpoint(folder, good).items():
        assert tensor.isfinite().all(), name
        assert torch.equal(tensor, checkpoint(clean.folder, good)[name]), name
    for file in ("my-cat.safetensors", "diffusers/learned_embeds.safetensors"):
        (vectors,) = read_embedding(folder / file).vectors.values()
        assert torch.equal(vectors, wanted)
    assert read_embedding(folder / "my-cat.safetensors").metadata["ti_trainer.step"] == str(good)


def test_a_gradient_that_is_no_number_stops_too(
    make_config: MakeConfig, finished_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of the sixth step is a number and its gradient is not."""

    def prepare(*arguments: Any) -> Session:
        session = original(*arguments)
        session.rows["clip_l"].register_hook(spoil)
        return session

    def spoil(gradient: Tensor) -> Tensor:
        seen.append(gradient)
        return gradient * float("inf") if len(seen) == 6 else gradient

    seen: list[Tensor] = []
    original = ti_trainer.training.loop.prepare
    monkeypatch.setattr(ti_trainer.training.loop, "prepare", prepare)
    config = make_config()
    with pytest.raises(Diverged, match="at step 6; the rows of step 4 are saved"):
        train(config)
    folder = Path(config.output) / "my-cat"
    for name, tensor in checkpoint(folder, 4).items():
        assert torch.equal(tensor, checkpoint(finished_run.folder, 4)[name]), name
    (vectors,) = read_embedding(folder / "my-cat.safetensors").vectors.values()
    assert vectors.isfinite().all()


def test_rows_that_overflow_are_never_saved(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A learning rate that throws the rows out of float32: the encoder's output, and so the loss, is no number."""
    config = make_config(steps=6, validate_every=1, checkpoint_every=1, lr=1000.0, lr_schedule="piecewise:2=1e30")
    with pytest.raises(Diverged):
        train(config)
    folder = Path(config.output) / "my-cat"
    files = [folder / "my-cat.safetensors", *(folder / "checkpoints").iterdir()]
    assert len(files) >= 2
    for file in files:
        assert all(tensor.isfinite().all() for tensor in load_file(file).values()), file


def test_a_concept_that_diverges_spoils_no_other(make_two: MakeTwo, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one learns what it learns alone; what was learned before is saved of both."""
    cat, dog = make_two(steps=30, batch_size=1, checkpoint_every=1, validate_every=0, plots=False)
    alone = train(replace(cat, name="alone"))
    poison(monkeypatch, "<my-dog>", 2, float("nan"))
    with pytest.raises(Incomplete, match=r"1 of 2 concepts failed:\n  my-dog: the loss became NaN or infinite at step"):
        train_all([cat, dog])
    output = Path(cat.output)
    for name in ("my-cat", "my-dog"):
        file = output / name / f"{name}.safetensors"
        assert all(rows.isfinite().all() for rows in read_embedding(file).vectors.values())
    assert (output / "my-cat" / "checkpoints" / "step-000030.safetensors").exists()
    assert not (output / "my-dog" / "checkpoints" / "step-000030.safetensors").exists()
    (rows,) = read_embedding(output / "my-cat" / "my-cat.safetensors").vectors.values()
    torch.testing.assert_close(rows, exported(alone), rtol=1e-5, atol=1e-5)
    assert sorted(path.name for path in (output / "manifest").iterdir()) == ["alone.json", "my-cat.json"]


@pytest.mark.parametrize("validate_every", [0, 4])
def test_a_finished_run_is_resumed_without_a_step(make_config: MakeConfig, validate_every: int) -> None:
    """Also one that was killed between its last checkpoint and its file."""
    config = make_config(validate_every=validate_every, plots=False)
    run = train(config)
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.suffix in (".safetensors", ".jsonl")}
    run.embedding.unlink()
    (run.folder.parent / "manifest" / "my-cat.json").unlink()
    again = train(replace(config, resume=True))
    assert {path: path.read_bytes() for path in before} == before
    assert len(list((run.folder / "checkpoints").iterdir())) == 5
    assert (again.history, again.best_step) == (run.history, run.best_step)
    assert (run.folder.parent / "manifest" / "my-cat.json").exists()


def test_of_many_concepts_the_unfinished_ones_go_on(make_two: MakeTwo) -> None:
    """The first is published, the second was killed before it was, and the third has not begun."""
    cat, dog = make_two(steps=6, plots=False)
    owl = replace(dog, name="owl", seed=3)
    wanted = train_all([cat, dog, owl])
    kept = {path: path.read_bytes() for run in wanted for path in run.folder.rglob("*.safetensors")}
    (wanted[1].folder.parent / "manifest" / "my-dog.json").unlink()
    (wanted[2].folder.parent / "manifest" / "owl.json").unlink()
    shutil.rmtree(wanted[2].folder)
    shown: list[tuple[int, str]] = []
    runs = train_all(
        [replace(config, resume=True) for config in (cat, dog, owl)],
        callbacks=[lambda line: shown.append((line["step"], line["token"]))],
    )
    assert shown == [(step, "<my-dog>") for step in range(1, 7)]  # the owl's
    assert [run.folder.name for run in runs] == ["my-dog", "owl"]
    assert runs[0].history == wanted[1].history
    for path, content in kept.items():
        if "owl" not in path.parts:
            assert path.read_bytes() == content, path
    torch.testing.assert_close(exported(runs[1]), exported(wanted[2]), rtol=1e-5, atol=1e-5)
