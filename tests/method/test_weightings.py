from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ti_trainer.errors import BadInput
from ti_trainer.method.weightings import WEIGHTINGS, get_weighting

SNR = torch.tensor([0.25, 5.0, 100.0])  # below gamma = 5, at it, above it


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "flow_prediction"])
def test_uniform(prediction_type: str) -> None:
    assert get_weighting("uniform")(SNR, prediction_type).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("prediction_type", "weights"),
    [
        ("epsilon", [1, 1, 5 / 100]),
        ("v_prediction", [0.25 / 1.25, 5 / 6, 5 / 101]),
        ("flow_prediction", [0.25 / 1.5**2, 5 / (1 + 5**0.5) ** 2, 5 / 11**2]),
    ],
)
def test_min_snr(prediction_type: str, weights: list[float]) -> None:
    torch.testing.assert_close(get_weighting("min_snr")(SNR, prediction_type), torch.tensor(weights))


# Hang et al., equation 4; Yu et al.
ON_PICTURE = [("min_snr", lambda snr: snr.clamp(max=5)), ("debiased", torch.sqrt)]


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(("name", "on_picture"), ON_PICTURE)
def test_weights_on_the_picture(prediction_type: str, name: str, on_picture: Callable[[Tensor], Tensor]) -> None:
    """Weighted losses of either target equal one weight times |x - x'|^2, with x' solved from the prediction."""
    alphas = torch.tensor([0.999, 0.9, 0.5, 0.01], dtype=torch.float64)
    signal, sigma = alphas.sqrt(), (1 - alphas).sqrt()
    clean, noise, error = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    noisy = signal * clean + sigma * noise
    if prediction_type == "epsilon":
        found = (noisy - sigma * (noise + error)) / signal
    else:
        found = signal * noisy - sigma * (signal * noise - sigma * clean + error)
    snr = alphas / (1 - alphas)
    expected = on_picture(snr) * (clean - found).square()
    torch.testing.assert_close(get_weighting(name)(snr, prediction_type) * error.square(), expected)


@pytest.mark.parametrize(("name", "on_picture"), ON_PICTURE)
def test_weights_on_the_picture_of_a_flow(name: str, on_picture: Callable[[Tensor], Tensor]) -> None:
    """The same for the velocity n - x of a straight line from x to n: x' is the noisy point less s times it."""
    level = torch.tensor([0.01, 0.3, 0.5, 0.95], dtype=torch.float64)
    clean, noise, error = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = (1 - level) * clean + level * noise - level * (noise - clean + error)
    snr = ((1 - level) / level).square()
    expected = on_picture(snr) * (clean - found).square()
    torch.testing.assert_close(get_weighting(name)(snr, "flow_prediction") * error.square(), expected)


@pytest.mark.parametrize("gamma", [1.0, 5.0, 20.0])
def test_gamma(gamma: float) -> None:
    snr = torch.tensor([0.1, 1.0, 7.0, 50.0])
    wanted = [min(value, gamma) for value in snr.tolist()]
    torch.testing.assert_close(get_weighting("min_snr", gamma)(snr, "epsilon"), torch.tensor(wanted) / snr)
    torch.testing.assert_close(get_weighting("min_snr", gamma)(snr, "v_prediction"), torch.tensor(wanted) / (snr + 1))


@pytest.mark.parametrize(
    ("prediction_type", "weights"),
    [
        ("epsilon", [2, 1, 1 / 5**0.5, 1 / 10]),
        ("v_prediction", [0.5 / 1.25, 1 / 2, 5**0.5 / 6, 10 / 101]),
        ("flow_prediction", [0.5 / 1.5**2, 1 / 4, 5**0.5 / (1 + 5**0.5) ** 2, 10 / 11**2]),
    ],
)
def test_debiased(prediction_type: str, weights: list[float]) -> None:
    snr = torch.tensor([0.25, 1.0, 5.0, 100.0])
    torch.testing.assert_close(get_weighting("debiased")(snr, prediction_type), torch.tensor(weights))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "flow_prediction"])
@pytest.mark.parametrize("name", WEIGHTINGS)
def test_finite_everywhere(name: str, prediction_type: str) -> None:
    """From pure noise, where schedules with a terminal SNR of zero end, to no noise at all."""
    snr = torch.tensor([0.0, 1e-30, 1e-8, 1e-3, 1.0, 1e6, 1e30, float("inf")])
    weights = get_weighting(name)(snr, prediction_type)
    assert weights.isfinite().all()
    assert (weights >= 0).all()


def test_pure_noise() -> None:
    """The limits: a velocity of pure noise says nothing about the latents; a noise error of the least SNR counts 1."""
    zero = torch.zeros(1)
    assert get_weighting("min_snr")(zero, "v_prediction").tolist() == [0]
    assert get_weighting("min_snr")(zero, "epsilon").tolist() == [1]
    assert get_weighting("debiased")(zero, "v_prediction").tolist() == [0]
    assert get_weighting("min_snr")(zero, "flow_prediction").tolist() == [0]
    assert get_weighting("debiased")(zero, "flow_prediction").tolist() == [0]
    assert get_weighting("debiased")(zero, "epsilon").tolist() == pytest.approx([1000**0.5])


def test_unknown_name() -> None:
    with pytest.raises(BadInput, match="'min-snr'; choose one of uniform, min_snr, debiased"):
        get_weighting("min-snr")
