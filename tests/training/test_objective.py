"""The loss of each example against a recomputation, one example at a time, with diffusers' scheduler and pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.learning import prepare_all
from ti_trainer import TrainConfig
from ti_trainer.data.batches import Batch, draw_example, stack_draws
from ti_trainer.families import Family
from ti_trainer.method.weightings import get_weighting, uniform
from ti_trainer.training.objective import denoising_losses, masked_mean
from ti_trainer.training.prepare import Session


@pytest.fixture
def concepts(make_two: Callable[..., list[TrainConfig]]) -> list[Session]:
    """Of a cat with two rows and a dog with one, on one model."""
    return prepare_all(make_two(flip=True))


@pytest.fixture
def loaded(concepts: list[Session]) -> Family:
    """The model, which knows the rows of both."""
    return concepts[0].family


@pytest.fixture
def batch(concepts: list[Session]) -> Batch:
    """Five examples of two concepts, of a step in the middle of a run."""
    cat, dog = (session.data for session in concepts)
    places = [(cat, 0), (cat, 2), (cat, 5), (dog, 1), (dog, 4)]
    return stack_draws([draw_example(data, 3, 17, index, 6) for data, index in places])


@pytest.fixture
def pipeline(concepts: list[Session], model: Path, reference_pipeline: Callable[[Path], Any]) -> Any:
    """The real pipeline with the concepts' rows loaded, as if from files."""
    pipeline = reference_pipeline(model)
    for session in concepts:
        token, vectors = session.data.token, session.rows["clip_l"].detach().clone()
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
    loaded: Family, batch: Batch, pipeline: Any, prediction_type: str, weight: str
) -> None:
    loaded.schedule = replace(loaded.schedule, prediction_type=prediction_type)
    losses = denoising_losses(loaded, batch, get_weighting(weight))
    wanted = torch.stack([simple_loss(pipeline, prediction_type, weight, batch, i) for i in range(5)])
    torch.testing.assert_close(losses, wanted, rtol=2e-5, atol=0)
    assert losses.detach().unique().numel() == 5


def test_losses_of_examples_do_not_touch_each_other(concepts: list[Session], loaded: Family, batch: Batch) -> None:
    """Only the examples that mention a concept give its rows a gradient, and a far-off neighbour changes no loss."""
    losses = denoising_losses(loaded, batch, uniform)
    rows = [session.rows["clip_l"] for session in concepts]
    assert [len(own) for own in rows] == [2, 1]
    for number, own in enumerate([0] * 3 + [1] * 2):
        gradients = torch.autograd.grad(losses[number], rows, retain_graph=True)
        assert (gradients[own].norm(dim=1) > 0).all()
        assert (gradients[1 - own] == 0).all()
    noise = batch.noise.clone()
    noise[1] *= 100
    changed = denoising_losses(loaded, replace(batch, noise=noise), uniform)
    assert changed[1] > 100 * losses[1]
    others = [0, 2, 3, 4]
    torch.testing.assert_close(changed[others], losses[others], rtol=1e-5, atol=0)


def test_gradient_of_the_rows_is_the_finite_difference(concepts: list[Session], loaded: Family, batch: Batch) -> None:
    loaded.slots[0].encoder.double()
    loaded.denoiser.double()
    loaded.dtype = torch.float64
    rows = [session.rows["clip_l"] for session in concepts]
    for own in rows:
        own.data = own.data.double()
    loss = denoising_losses(loaded, batch, uniform).sum()
    gradients = torch.autograd.grad(loss, rows)
    for concept, row, column in [(0, 0, 3), (0, 1, 30), (1, 0, 11)]:
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                rows[concept][row, column] += sign * 1e-3
                values.append(denoising_losses(loaded, batch, uniform).sum())
                rows[concept][row, column] -= sign * 1e-3
        slope = (values[0] - values[1]) / 2e-3
        assert slope.item() == pytest.approx(gradients[concept][row, column].item(), rel=1e-2, abs=1e-6)


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


def test_losses_with_masks_and_weights(loaded: Family, batch: Batch, pipeline: Any) -> None:
    """Against the squared errors of the real U-Net; examples without a mask lose nothing, bit for bit."""
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    mask = torch.ones(5, 1, 8, 8)
    mask[1, :, :, 4:] = 0.1
    mask[3] = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(1))
    weights = torch.tensor([1.0, 1.0, 0.5, 2.0, 0.0])
    with torch.no_grad():
        plain = denoising_losses(loaded, batch, uniform)
        found = denoising_losses(loaded, replace(batch, mask=mask, weights=weights), uniform)
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
