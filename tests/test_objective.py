"""The loss of each example against a recomputation, one example at a time, with diffusers' scheduler and pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ti_trainer import Concept, TrainConfig
from ti_trainer.data.batches import Batch, draw_example, stack_draws
from ti_trainer.embedding_files import Embedding
from ti_trainer.objective import denoising_losses, masked_mean
from ti_trainer.prepare import Session, prepare
from ti_trainer.processes import Processes
from ti_trainer.weightings import get_weighting, uniform


@pytest.fixture
def session(make_config: Callable[..., TrainConfig], two_concepts: tuple[Concept, Concept]) -> Session:
    return prepare(replace(make_config(flip=True), concepts=two_concepts), Processes("fp32"))


@pytest.fixture
def batch(session: Session) -> Batch:
    """Five examples of two concepts, of a step in the middle of a run."""
    cat, dog = session.data
    places = [(cat, 0), (cat, 2), (cat, 5), (dog, 1), (dog, 4)]
    return stack_draws([draw_example(data, 3, 17, index, 6) for data, index in places])


@pytest.fixture
def pipeline(session: Session, model: Path, reference_pipeline: Callable[[Path], Any]) -> Any:
    """The real pipeline with the concepts' rows loaded, as if from files."""
    pipeline = reference_pipeline(model)
    for token in session.placeholders.spans:
        vectors = Embedding(token, session.placeholders.vectors(token)).vectors["clip_l"]
        pipeline.load_textual_inversion({token: vectors}, token=token)
    return pipeline


@torch.no_grad()
def simple_loss(pipeline: Any, prediction_type: str, weight: str, batch: Batch, number: int) -> Tensor:
    """The loss of one example, written as the papers do."""
    from diffusers import DDPMScheduler
    from diffusers.training_utils import compute_snr

    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config, prediction_type=prediction_type)
    mean, std = batch.posterior.mean[number, None], batch.posterior.std[number, None]
    latents = (mean + std * batch.posterior_noise[number, None]) * pipeline.vae.config.scaling_factor
    noise = batch.noise[number, None]
    timestep = torch.tensor([int(batch.timestep_draws[number] * scheduler.config.num_train_timesteps)])
    text, _ = pipeline.encode_prompt(batch.captions[number], torch.device("cpu"), 1, False)
    prediction = pipeline.unet(scheduler.add_noise(latents, noise, timestep), timestep, text).sample
    target = noise if prediction_type == "epsilon" else scheduler.get_velocity(latents, noise, timestep)
    loss = torch.nn.functional.mse_loss(prediction, target)
    if weight == "min_snr":
        snr = compute_snr(scheduler, timestep)[0]
        loss *= torch.minimum(snr, torch.tensor(5.0)) / (snr if prediction_type == "epsilon" else snr + 1)
    return loss


@pytest.mark.parametrize("weight", ["uniform", "min_snr"])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_losses_are_those_of_single_examples(
    session: Session, batch: Batch, pipeline: Any, prediction_type: str, weight: str
) -> None:
    family = session.family
    family.schedule = replace(family.schedule, prediction_type=prediction_type)
    losses = denoising_losses(family, batch, get_weighting(weight))
    wanted = torch.stack([simple_loss(pipeline, prediction_type, weight, batch, i) for i in range(5)])
    torch.testing.assert_close(losses, wanted, rtol=2e-5, atol=0)
    assert losses.detach().unique().numel() == 5


def test_losses_of_examples_do_not_touch_each_other(session: Session, batch: Batch) -> None:
    """Only the examples that mention a concept give its rows a gradient, and a far-off neighbour changes no loss."""
    losses = denoising_losses(session.family, batch, uniform)
    (rows,) = session.placeholders.rows.values()
    cat = session.placeholders.spans["<my-cat>"]["clip_l"]
    dog = session.placeholders.spans["<my-dog>"]["clip_l"]
    for number, (own, other) in enumerate([(cat, dog)] * 3 + [(dog, cat)] * 2):
        (gradient,) = torch.autograd.grad(losses[number], rows, retain_graph=True)
        assert (gradient[own].norm(dim=1) > 0).all()
        assert (gradient[other] == 0).all()
    noise = batch.noise.clone()
    noise[1] *= 100
    changed = denoising_losses(session.family, replace(batch, noise=noise), uniform)
    assert changed[1] > 100 * losses[1]
    others = [0, 2, 3, 4]
    torch.testing.assert_close(changed[others], losses[others], rtol=1e-5, atol=0)


def test_gradient_of_the_rows_is_the_finite_difference(session: Session, batch: Batch) -> None:
    (rows,) = session.placeholders.rows.values()
    session.family.slots[0].encoder.double()
    session.family.unet.double()
    session.family.dtype = torch.float64
    rows.data = rows.data.double()
    loss = denoising_losses(session.family, batch, uniform).sum()
    (gradient,) = torch.autograd.grad(loss, rows)
    for row, column in [(0, 3), (1, 30), (2, 11)]:
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                rows[row, column] += sign * 1e-3
                values.append(denoising_losses(session.family, batch, uniform).sum())
                rows[row, column] -= sign * 1e-3
        slope = (values[0] - values[1]) / 2e-3
        assert slope.item() == pytest.approx(gradient[row, column].item(), rel=1e-2, abs=1e-6)


def test_masked_mean() -> None:
    """Against loops over every number; a mask of ones, or none, is the plain mean bit for bit."""
    draws = torch.Generator().manual_seed(0)
    error = torch.rand(4, 3, 5, 7, generator=draws)
    mask = torch.rand(4, 1, 5, 7, generator=draws)
    mask[1] = 1
    mask[2] = 0.1
    mask[3, :, 1:] = 0
    found = masked_mean(error, mask)
    for number in range(4):
        total = count = 0.0
        for channel in range(3):
            for row in range(5):
                for column in range(7):
                    weight = mask[number, 0, row, column].item()
                    total += weight * error[number, channel, row, column].item()
                    count += weight
        assert found[number].item() == pytest.approx(total / count, rel=1e-5)
    plain = error.mean((1, 2, 3))
    assert torch.equal(masked_mean(error, None), plain)
    assert torch.equal(found[1], plain[1])
    assert found[2].item() == pytest.approx(plain[2].item(), rel=1e-6)
    assert masked_mean(error, torch.zeros(4, 1, 5, 7)).tolist() == [0] * 4


def test_losses_with_masks_and_weights(session: Session, batch: Batch, pipeline: Any) -> None:
    """Against the squared errors of the real U-Net; examples without a mask lose nothing, bit for bit."""
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    mask = torch.ones(5, 1, 8, 8)
    mask[1, :, :, 4:] = 0.1
    mask[3] = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(1))
    weights = torch.tensor([1.0, 1.0, 0.5, 2.0, 0.0])
    with torch.no_grad():
        plain = denoising_losses(session.family, batch, uniform)
        found = denoising_losses(session.family, replace(batch, mask=mask, weights=weights), uniform)
        for number in range(5):
            one = slice(number, number + 1)
            latents = batch.posterior.mean[one] + batch.posterior.std[one] * batch.posterior_noise[one]
            timestep = (batch.timestep_draws[one] * 1000).long()
            noisy = scheduler.add_noise(latents * pipeline.vae.config.scaling_factor, batch.noise[one], timestep)
            text, _ = pipeline.encode_prompt(batch.captions[number], torch.device("cpu"), 1, False)
            error = (pipeline.unet(noisy, timestep, text).sample - batch.noise[one]).square()
            wanted = weights[number] * (mask[one] * error).sum() / (4 * mask[one].sum())
            torch.testing.assert_close(found[number], wanted, rtol=2e-5, atol=0)
    assert torch.equal(found[[0, 2, 4]], plain[[0, 2, 4]] * weights[[0, 2, 4]])
