import pytest
import torch

from ti_trainer.errors import BadInput
from ti_trainer.method import timesteps as policies
from ti_trainer.method.timesteps import TimestepPolicy, parse_timesteps


@pytest.mark.parametrize(
    ("text", "distribution"),
    [
        ("uniform", lambda u: u),
        ("late", lambda u: u**2),  # the integral of the density 2u
        ("range:0.25-0.75", lambda u: ((u - 0.25) / 0.5).clamp(0, 1)),
        ("logit_normal", lambda u: torch.special.ndtr(u.logit())),  # Esser et al. 2024, equation 19
    ],
)
def test_policies(text: str, distribution) -> None:
    """Stratified draws reach every level as often as the density says, and stay in their order."""
    draws = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    fractions = parse_timesteps(text)(draws)
    assert (fractions.diff() > 0).all()
    for level in (0.1, 0.3, 0.5, 0.8, 1.0):
        share = (fractions < level).double().mean()
        assert share == pytest.approx(distribution(torch.tensor(level)).item(), abs=2e-4)


def test_every_row_of_policies_rises_from_0_to_1() -> None:
    draws = torch.linspace(0, 1, 1001)
    for curve in policies.TIMESTEPS.values():
        fractions = curve(draws)
        assert (fractions[0], fractions[-1]) == (0, 1)
        assert (fractions.diff() > 0).all()


def test_uniform_draws_stay_what_they_are() -> None:
    draws = torch.rand(100, generator=torch.Generator().manual_seed(0))
    assert torch.equal(parse_timesteps("uniform")(draws), draws)


def test_support() -> None:
    """Validation looks at the levels that are trained, evenly."""
    middle = torch.tensor([0.25, 0.75])
    torch.testing.assert_close(parse_timesteps("range:0.2-0.6").within_support(middle), torch.tensor([0.3, 0.5]))
    assert torch.equal(parse_timesteps("late").within_support(middle), middle)
    assert TimestepPolicy() == parse_timesteps("uniform") == parse_timesteps("range:0-1")


@pytest.mark.parametrize(
    "text",
    [
        *("early", "", "range", "range:", "range:0.5", "range:0.5-0.5", "range:0.7-0.2", "range:0-1.5"),
        *("range:500-1000", "range:-1-0", "range:nan-1", "late:0.5-1", "range:a-b"),
    ],
)
def test_policies_that_are_refused(text: str) -> None:
    with pytest.raises(
        BadInput, match=f"timesteps is '{text}'; choose uniform, late, logit_normal, mode, or range:LOW-HIGH"
    ):
        parse_timesteps(text)


@pytest.mark.parametrize(("name", "scheme"), [("logit_normal", "logit_normal"), ("mode", "mode")])
def test_densities_are_those_of_diffusers(name: str, scheme: str) -> None:
    """Its own draws, which it makes for Stable Diffusion 3, against ours, by their quantiles."""
    from diffusers.training_utils import compute_density_for_timestep_sampling

    torch.manual_seed(0)
    theirs = compute_density_for_timestep_sampling(scheme, 200_000, logit_mean=0.0, logit_std=1.0, mode_scale=1.29)
    places = torch.linspace(0.05, 0.95, 19)
    torch.testing.assert_close(parse_timesteps(name)(places), theirs.quantile(places), rtol=0, atol=5e-3)
