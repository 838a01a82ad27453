import diffusers
import pytest
import torch

from ti_trainer.method.schedules import FlowMatching, VariancePreserving
from ti_trainer.method.shifts import fixed
from ti_trainer.method.timesteps import parse_timesteps

SIZE = (8, 8)
BETAS = [
    {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},  # Stable Diffusion
    {"beta_schedule": "linear"},
    {"beta_schedule": "squaredcos_cap_v2"},
]
TIMESTEPS = torch.tensor([0, 1, 250, 499, 750, 999])


def schedules(name: str, betas: dict, prediction_type: str):
    theirs = getattr(diffusers, name)(num_train_timesteps=1000, prediction_type=prediction_type, **betas)
    return theirs, VariancePreserving(theirs.alphas_cumprod, prediction_type)


def latents_and_noise() -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(0)
    return torch.randn(6, 4, 8, 8, generator=draws), torch.randn(6, 4, 8, 8, generator=draws)


@pytest.mark.parametrize("name", ["DDPMScheduler", "DDIMScheduler"])
@pytest.mark.parametrize("betas", BETAS, ids=lambda betas: betas["beta_schedule"])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_equals_diffusers(name: str, betas: dict, prediction_type: str) -> None:
    theirs, ours = schedules(name, betas, prediction_type)
    latents, noise = latents_and_noise()
    torch.testing.assert_close(
        ours.add_noise(latents, noise, TIMESTEPS), theirs.add_noise(latents, noise, TIMESTEPS), rtol=1e-6, atol=1e-6
    )
    target = noise if prediction_type == "epsilon" else theirs.get_velocity(latents, noise, TIMESTEPS)
    torch.testing.assert_close(ours.target(latents, noise, TIMESTEPS), target, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_target_leads_the_scheduler_back_to_the_latents(prediction_type: str) -> None:
    """A network that returned `target` would let diffusers' own step recover the clean latents."""
    theirs, ours = schedules("DDIMScheduler", {**BETAS[0], "clip_sample": False}, prediction_type)
    latents, noise = latents_and_noise()
    theirs.set_timesteps(1000)
    for i, timestep in enumerate(TIMESTEPS[:5]):
        one = slice(i, i + 1)
        noisy = ours.add_noise(latents[one], noise[one], timestep[None])
        target = ours.target(latents[one], noise[one], timestep[None])
        step = theirs.step(target, timestep, noisy)
        torch.testing.assert_close(step.pred_original_sample, latents[one], rtol=1e-4, atol=1e-4)


def test_snr() -> None:
    """Against sigma of Karras et al. 2022: snr = 1 / sigma^2; and a hand-made schedule."""
    ours = VariancePreserving(torch.tensor([0.9, 0.5, 0.2]), "epsilon")
    torch.testing.assert_close(ours.snr(torch.tensor([0, 1, 2, 1])), torch.tensor([9.0, 1.0, 0.25, 1.0]))
    theirs, ours = schedules("DDPMScheduler", BETAS[0], "epsilon")
    sigmas = ((1 - theirs.alphas_cumprod.double()) / theirs.alphas_cumprod.double()).sqrt()
    torch.testing.assert_close(ours.snr(torch.arange(1000)), (sigmas**-2).float(), rtol=1e-4, atol=0)
    torch.testing.assert_close(ours.snr(torch.tensor([0, 999])), torch.tensor([1175.47, 0.0046817]), rtol=1e-3, atol=0)


def test_timesteps_divide_the_draws_evenly() -> None:
    _, schedule = schedules("DDPMScheduler", BETAS[0], "epsilon")
    draws = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    timesteps = schedule.sample_timesteps(draws.float(), SIZE)
    assert timesteps.dtype == torch.int64
    assert torch.equal(timesteps.bincount(), torch.full((1000,), 4))
    assert torch.equal(schedule.sample_timesteps(torch.tensor([0.0, 0.5, 0.9999]), SIZE), torch.tensor([0, 500, 999]))


def test_draw_that_float32_rounds_to_one() -> None:
    _, schedule = schedules("DDPMScheduler", BETAS[0], "epsilon")
    draw = torch.tensor([1 - 1e-9])
    assert draw == 1
    assert schedule.sample_timesteps(draw, SIZE) == 999


def flow_scheduler(shift: float) -> diffusers.FlowMatchEulerDiscreteScheduler:
    return diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=shift)


@pytest.mark.parametrize("shift", [1.0, 3.0, 0.5])
def test_fractions_of_a_flow_are_the_schedulers_timesteps(shift: float) -> None:
    """Its 1000 timesteps, from pure noise on, are those of the fractions 1, 0.999, ..., 0.001, shifted."""
    theirs, ours = flow_scheduler(shift), FlowMatching(fixed(shift))
    fractions = torch.arange(1000, 0, -1, dtype=torch.float64) / 1000
    timesteps = ours.sample_timesteps(fractions, SIZE)
    assert timesteps.dtype == torch.float32
    torch.testing.assert_close(timesteps, theirs.timesteps, rtol=1e-6, atol=1e-3)
    torch.testing.assert_close(timesteps / 1000, theirs.sigmas, rtol=1e-6, atol=1e-6)
    assert ours.sample_timesteps(torch.tensor([0.0, 1.0]), SIZE).tolist() == [0, 1000]


def test_shift_in_numbers() -> None:
    """Esser et al., equation 23: half-way is three quarters of noise where the shift is 3."""
    timesteps = FlowMatching(fixed(3.0)).sample_timesteps(torch.tensor([0.25, 0.5, 0.75]), SIZE)
    torch.testing.assert_close(timesteps, torch.tensor([500.0, 750.0, 900.0]))


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_noise_of_a_flow_is_the_schedulers(shift: float) -> None:
    theirs, ours = flow_scheduler(shift), FlowMatching(fixed(shift))
    latents, noise = latents_and_noise()
    timesteps = theirs.timesteps[[0, 1, 250, 500, 998, 999]]
    noisy = theirs.scale_noise(latents, timesteps, noise)
    torch.testing.assert_close(ours.add_noise(latents, noise, timesteps), noisy, rtol=1e-6, atol=1e-6)


def test_target_of_a_flow_leads_the_scheduler_back_to_the_latents() -> None:
    """One step of diffusers' sampler along `target`, from any level to the next, stays on the same line."""
    theirs, ours = flow_scheduler(3.0), FlowMatching(fixed(3.0))
    latents, noise = latents_and_noise()
    theirs.set_timesteps(20)
    noisy = ours.add_noise(latents, noise, theirs.timesteps[:1].expand(6))
    assert torch.equal(noisy, noise)
    for number, timestep in enumerate(theirs.timesteps):
        noisy = theirs.step(ours.target(latents, noise, timestep.expand(6)), timestep, noisy).prev_sample
        after = torch.tensor([*theirs.timesteps.tolist(), 0.0])[number + 1]
        torch.testing.assert_close(noisy, ours.add_noise(latents, noise, after.expand(6)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(noisy, latents, rtol=1e-4, atol=1e-5)


def test_snr_of_a_flow() -> None:
    """The squared factors of latents and noise, read off noisy latents of ones and zeros."""
    ours = FlowMatching()
    timesteps = torch.tensor([0.0, 200.0, 500.0, 1000.0])
    torch.testing.assert_close(ours.snr(timesteps), torch.tensor([float("inf"), 16.0, 1.0, 0.0]))
    ones, zeros = torch.ones(4, 1, 1, 1), torch.zeros(4, 1, 1, 1)
    signal, sigma = (ours.add_noise(*both, timesteps).flatten() for both in ((ones, zeros), (zeros, ones)))
    torch.testing.assert_close((signal / sigma).square(), ours.snr(timesteps))


@pytest.mark.parametrize(
    ("text", "low", "high"), [("uniform", 0.0, 1.0), ("late", 0.0, 1.0), ("range:0.25-0.75", 0.25, 0.75)]
)
def test_policies_are_fractions_of_either_schedule(text: str, low: float, high: float) -> None:
    """A flow without a shift and a process in 1000 steps are asked for the same places."""
    fractions = parse_timesteps(text)((torch.arange(4000, dtype=torch.float64) + 0.5) / 4000).float()
    _, discrete = schedules("DDPMScheduler", BETAS[0], "epsilon")
    flow = FlowMatching().sample_timesteps(fractions, SIZE)
    assert torch.equal(flow.long(), discrete.sample_timesteps(fractions, SIZE))
    shifted = FlowMatching(fixed(3.0)).sample_timesteps(fractions, SIZE) / 1000
    torch.testing.assert_close(shifted / (3 - 2 * shifted), fractions, rtol=1e-5, atol=1e-6)
    assert low <= fractions.min() < low + 0.02
    assert high - 0.02 < fractions.max() <= high
