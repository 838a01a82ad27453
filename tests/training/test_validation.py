"""The fixed-noise loss and what is chosen by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.learning import prepare_all
from ti_trainer import TrainConfig, train, train_all
from ti_trainer.data.batches import stack_draws
from ti_trainer.data.captions import TEMPLATES
from ti_trainer.embedding_files import read_embedding
from ti_trainer.method.randomness import generator
from ti_trainer.method.tokens import fill
from ti_trainer.training.prepare import Session
from ti_trainer.training.validation import fixed_draw, fixed_noise_losses

SAMPLES = 10
SEED = 5


@pytest.fixture
def session(make_config: Callable[..., TrainConfig]) -> Session:
    return prepare_all([make_config()])[0]


def loss(session: Session, indices: range = range(SAMPLES), at_once: int = 3) -> torch.Tensor:
    """What some of the SAMPLES add to the mean."""
    draws = {index: fixed_draw(session.data, SEED, index, SAMPLES) for index in indices}
    losses = fixed_noise_losses(session.family, draws, lambda shape: at_once)
    assert list(losses) == list(indices)
    return torch.stack([losses[index] * draws[index].share for index in indices]).sum()


def test_the_same_number_whatever_was_drawn_before(session: Session) -> None:
    first = loss(session)
    torch.manual_seed(99)
    torch.rand(7)
    assert torch.equal(loss(session), first)
    torch.testing.assert_close(loss(session, at_once=4), first, rtol=1e-6, atol=0)
    with torch.no_grad():
        session.rows["clip_l"].neg_()
    assert (loss(session) - first).abs() > 1e-4


def test_shares_add_up(session: Session) -> None:
    shares = [loss(session, range(rank, SAMPLES, 3)) for rank in range(3)]
    assert sum(shares).item() == pytest.approx(loss(session).item(), rel=1e-6)


def test_timesteps_are_stratified_and_every_picture_sees_all_levels(session: Session) -> None:
    batch = stack_draws([fixed_draw(session.data, SEED, index, SAMPLES) for index in range(SAMPLES)])
    timesteps = session.family.schedule.sample_timesteps(batch.timestep_draws, (8, 8))
    assert timesteps.tolist() == [50, 150, 250, 350, 450, 550, 650, 750, 850, 950]
    means = [view.posterior.mean for (view,) in session.data.views]
    assert len(means) == 4
    for index in range(SAMPLES):
        assert torch.equal(batch.posterior.mean[index], means[index % 4])
    assert not batch.posterior_noise.any()
    assert batch.noise.flatten(1).unique(dim=0).shape[0] == SAMPLES


@torch.no_grad()
def test_the_mean_of_a_simple_recomputation(
    session: Session, model: Path, reference_pipeline: Callable[[Path], Any]
) -> None:
    from diffusers import DDPMScheduler

    pipeline = reference_pipeline(model)
    pipeline.load_textual_inversion({"<my-cat>": session.rows["clip_l"].detach().clone()}, token="<my-cat>")
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    text, _ = pipeline.encode_prompt(fill(TEMPLATES["object"][0], "<my-cat>"), torch.device("cpu"), 1, False)
    losses = []
    for index in range(SAMPLES):
        latents = session.data.views[index % 4][0].encode().mean[None] * pipeline.vae.config.scaling_factor
        noise = torch.randn(latents.shape[1:], generator=generator(SEED, "validation", "<my-cat>", index))[None]
        timestep = torch.tensor([100 * index + 50])
        prediction = pipeline.unet(scheduler.add_noise(latents, noise, timestep), timestep, text).sample
        losses.append((prediction - noise).square().mean().item())
    assert loss(session).item() == pytest.approx(sum(losses) / SAMPLES, rel=1e-5)


def test_class_pictures_are_no_measure_of_the_concept(
    make_config: Callable[..., TrainConfig], other_pictures: Path
) -> None:
    """The fixed examples, and so the loss, are those of a run without class pictures, to the bit."""
    with_class = prepare_all([make_config(class_images=str(other_pictures), class_weight=0.25)])[0]
    assert [example.is_class for example in with_class.data.examples] == [False] * 4 + [True] * 3
    own = {view.encode().mean.numpy().tobytes() for (view,) in with_class.data.views[:4]}
    draws = [fixed_draw(with_class.data, SEED, index, 20) for index in range(20)]
    assert {draw.view.encode().mean.numpy().tobytes() for draw in draws} == own
    assert {draw.weight for draw in draws} == {1.0}
    assert torch.equal(loss(with_class), loss(prepare_all([make_config()])[0]))


def test_the_best_step_is_kept_and_not_the_last(make_two: Callable[..., list[TrainConfig]]) -> None:
    """The rows are thrown far away at step 10; each concept's file holds the rows of its own best step."""
    configs = make_two(
        steps=16,
        lr=0.02,
        lr_schedule="piecewise:10=1000",
        validate_every=2,
        checkpoint_every=1,
        validation_samples=8,
    )
    for run in train_all(configs):
        measured = {line["step"]: line["validation_loss"] for line in run.history if "validation_loss" in line}
        assert sorted(measured) == [2, 4, 6, 8, 10, 12, 14, 16]
        best = min(measured, key=measured.__getitem__)
        assert 0 < best < 12
        assert run.best_step == best
        assert measured[16] > measured[best] + 0.02
        kept = load_file(run.folder / "checkpoints" / f"step-{best:06d}.safetensors")["rows.clip_l"]
        exported = read_embedding(run.embedding)
        assert torch.equal(exported.vectors["clip_l"], kept)
        assert exported.metadata["ti_trainer.step"] == str(best)


def test_rows_that_never_improve_are_the_first(make_config: Callable[..., TrainConfig]) -> None:
    learned = train(make_config(steps=20, lr=0.02, validation_samples=8, name="learned"))
    file = learned.embedding
    run = train(make_config(steps=4, lr=20.0, validate_every=1, validation_samples=8, init=f"file:{file}"))
    assert run.best_step == 0
    first, last = (
        load_file(run.folder / "checkpoints" / f"step-{step:06d}.safetensors")["rows.clip_l"] for step in (0, 4)
    )
    kept = read_embedding(run.embedding).vectors["clip_l"]
    assert torch.equal(kept, first)
    assert torch.equal(kept, read_embedding(file).vectors["clip_l"])
    assert (kept - last).norm() > 1


def test_without_validation_the_last_rows_are_kept(make_config: Callable[..., TrainConfig]) -> None:
    run = train(make_config(steps=5, validate_every=0))
    assert run.best_step == 5
    last = load_file(run.folder / "checkpoints" / "step-000005.safetensors")["rows.clip_l"]
    assert torch.equal(read_embedding(run.embedding).vectors["clip_l"], last)
    assert not any("validation_loss" in line for line in run.history)
