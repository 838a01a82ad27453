"""Frozen convolutions: the numbers are torch's, and nothing is kept for weights that get no gradient."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from ti_trainer import ModelConfig, TrainConfig
from ti_trainer.families import load_family
from ti_trainer.families.convolutions import MOST_POSITIONS, FrozenConv2d, freeze_convolutions
from ti_trainer.loop import Training
from ti_trainer.prepare import prepare
from ti_trainer.processes import Processes

CASES = {
    "3 x 3": {"kernel_size": 3, "padding": 1},
    "1 x 1": {"kernel_size": 1},
    "downwards": {"kernel_size": 3, "padding": 1, "stride": 2},
    "odd": {"kernel_size": (3, 2), "padding": (0, 1), "stride": (2, 3), "bias": False},
}


def output_and_gradient(convolution: nn.Module, pictures: Tensor) -> tuple[Tensor, Tensor]:
    pictures = pictures.clone().requires_grad_()
    output = convolution(pictures)
    (gradient,) = torch.autograd.grad(output.sin().sum(), pictures)
    return output.detach(), gradient


@pytest.mark.parametrize("side", [9, 40])
@pytest.mark.parametrize("case", sorted(CASES))
def test_numbers_are_torchs(case: str, side: int) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(5, 7, **CASES[case]).double().requires_grad_(False)
    pictures = torch.randn(2, 5, side, side + 2, dtype=torch.double)
    wanted = output_and_gradient(plain, pictures)
    freeze_convolutions(plain)
    assert isinstance(plain, FrozenConv2d)
    for found, expected in zip(output_and_gradient(plain, pictures), wanted, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_both_ways_are_tested() -> None:
    frozen = FrozenConv2d(5, 7, 3, padding=1)
    few, many = (frozen.positions(torch.empty(2, 5, side, side + 2)) for side in (9, 40))
    assert few <= MOST_POSITIONS < many


@pytest.mark.parametrize("side", [9, 40])
def test_only_weights_are_kept(side: int) -> None:
    convolution = nn.Conv2d(5, 7, 3, padding=1).requires_grad_(False)
    freeze_convolutions(convolution)
    own = {tensor.data_ptr() for tensor in convolution.parameters()}
    kept: list[int] = []
    with saved_tensors_hooks(lambda tensor: kept.append(tensor.data_ptr()) or tensor, lambda tensor: tensor):
        convolution(torch.randn(2, 5, side, side, requires_grad=True))
    assert kept
    assert set(kept) <= own


def test_other_convolutions_are_left_alone() -> None:
    others = nn.Sequential(
        nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 4, 3, dilation=2), nn.Conv2d(4, 4, 3, padding_mode="circular")
    )
    freeze_convolutions(others)
    assert not any(isinstance(module, FrozenConv2d) for module in others)


def test_names_and_weights_stay(any_model: Path) -> None:
    lean, plain = (
        load_family(ModelConfig(model=str(any_model), lean_convolutions=on), torch.device("cpu"), torch.float32)
        for on in (True, False)
    )
    wanted = plain.pipeline().unet.state_dict()
    found = lean.pipeline().unet.state_dict()
    assert list(found) == list(wanted)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert any(isinstance(module, FrozenConv2d) for module in lean.pipeline().unet.modules())


def rows_and_losses(config: TrainConfig) -> tuple[dict[str, Tensor], list[float]]:
    processes = Processes("fp32")
    training = Training(prepare(config, processes), processes)
    losses = []
    for _ in range(config.steps):
        losses.append(training.gradients(stop=False)[0].item())
        training.update()
    return training.placeholders.snapshot(), losses


def test_the_same_rows(any_model: Path, make_config: Callable[..., TrainConfig]) -> None:
    """After a few steps, to rounding: a thousandth of what one step moves a row."""
    config = make_config(model=str(any_model), steps=4, lr=1e-2)
    (lean, losses), (plain, wanted) = (rows_and_losses(replace(config, lean_convolutions=on)) for on in (True, False))
    assert losses == pytest.approx(wanted, rel=1e-5)
    for slot, rows in plain.items():
        torch.testing.assert_close(lean[slot], rows, rtol=0, atol=1e-5)
