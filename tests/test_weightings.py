import pytest
import torch

from ti_trainer.errors import BadInput
from ti_trainer.weightings import WEIGHTINGS, get_weighting

SNR = torch.tensor([0.25, 5.0, 100.0])  # below gamma = 5, at it, above it


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_uniform(prediction_type: str) -> None:
    assert get_weighting("uniform")(SNR, prediction_type).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("prediction_type", "weights"),
    [("epsilon", [1, 1, 5 / 100]), ("v_prediction", [0.25 / 1.25, 5 / 6, 5 / 101])],
)
def test_min_snr(prediction_type: str, weights: list[float]) -> None:
    torch.testing.assert_close(get_weighting("min_snr")(SNR, prediction_type), torch.tensor(weights))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_min_snr_is_a_weight_on_the_picture(prediction_type: str) -> None:
    """Weighted losses equal min(snr, 5) |x - x'|^2, with x' solved from the prediction (Hang et al. 2023, eq. 4)."""
    alphas = torch.tensor([0.999, 0.9, 0.5, 0.01], dtype=torch.float64)
    signal, sigma = alphas.sqrt(), (1 - alphas).sqrt()
    clean, noise, error = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    noisy = signal * clean + sigma * noise
    if prediction_type == "epsilon":
        found = (noisy - sigma * (noise + error)) / signal
    else:
        found = signal * noisy - sigma * (signal * noise - sigma * clean + error)
    snr = alphas / (1 - alphas)
    expected = snr.clamp(max=5) * (clean - found).square()
    torch.testing.assert_close(WEIGHTINGS["min_snr"](snr, prediction_type) * error.square(), expected)


def test_no_signal_with_velocity() -> None:
    """Schedules that end in pure noise predict velocities: the weight is 0 there, not NaN."""
    assert WEIGHTINGS["min_snr"](torch.zeros(1), "v_prediction").tolist() == [0]


def test_unknown_name() -> None:
    with pytest.raises(BadInput, match="'min-snr'; choose one of uniform, min_snr"):
        get_weighting("min-snr")
