"""Shifts of flows, against diffusers' scheduler and the pipelines that tell it the size of the pictures."""

import diffusers
import numpy as np
import pytest
import torch
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

from ti_trainer.method.schedules import FlowMatching
from ti_trainer.method.shifts import by_tokens, empirical_mu, fixed, linear_mu, shifted

FLUX = linear_mu((256, 0.5), (4096, 1.15))
SIZES = [(32, 32), (64, 96), (128, 128), (160, 104)]  # of latents


def test_in_numbers() -> None:
    """Esser et al., equation 23: half-way is three quarters of noise where the shift is 3; Flux's at its two sizes."""
    assert shifted(torch.tensor([0.0, 0.25, 0.5, 1.0]), 3.0).tolist() == [0.0, 0.5, 0.75, 1.0]
    assert fixed(3.0)((1, 99)) == 3
    assert [FLUX(256), FLUX(4096)] == pytest.approx([0.5, 1.15])
    assert by_tokens(FLUX, 2)((32, 32)) == pytest.approx(np.exp(0.5))


@pytest.mark.parametrize("size", SIZES)
def test_flux_is_drawn_so(size: tuple[int, int]) -> None:
    tokens = size[0] * size[1] // 4
    assert FLUX(tokens) == pytest.approx(calculate_shift(tokens))


@pytest.mark.parametrize("steps", [4, 10, 50, 200])
@pytest.mark.parametrize("tokens", [256, 1024, 4096, 4300, 4301, 9000])
def test_flux2_is_drawn_so(tokens: int, steps: int) -> None:
    assert empirical_mu(steps)(tokens) == pytest.approx(compute_empirical_mu(tokens, steps))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mu", [FLUX, empirical_mu(50)])
def test_timesteps_are_the_schedulers(size: tuple[int, int], mu) -> None:
    """Those of evenly spaced noise levels, which it shifts by e^mu."""
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    levels = np.linspace(1.0, 0.05, 20)
    scheduler.set_timesteps(sigmas=levels, mu=mu(size[0] * size[1] // 4))
    ours = FlowMatching(by_tokens(mu, 2)).sample_timesteps(torch.from_numpy(levels), size)
    torch.testing.assert_close(ours, scheduler.timesteps, rtol=1e-5, atol=1e-3)
