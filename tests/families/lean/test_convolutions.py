"""Frozen convolutions: the numbers are torch's, and nothing is kept for weights that get no gradient."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from tests.tiny_models import TINY_MODELS
from ti_trainer import TrainConfig
from ti_trainer.families.lean import convolutions
from ti_trainer.families.lean.convolutions import FrozenConv2d, fold, freeze_convolutions, unfold
from ti_trainer.training.learner import Learner
from ti_trainer.training.prepare import load_model, prepare
from ti_trainer.training.processes import Processes
from ti_trainer.training.step import SharedStep, largest_batch

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


@pytest.fixture(params=["product", "product row by row", "convolution"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every convolution as a product, then none."""
    monkeypatch.setattr(convolutions, "OUTWEIGHED", inf if request.param == "convolution" else 0)
    monkeypatch.setattr(convolutions, "FEW", inf if request.param == "product row by row" else 0)
    return request.param


@pytest.mark.parametrize("case", sorted(CASES))
def test_numbers_are_torchs(case: str, way: str) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(5, 7, **CASES[case]).double().requires_grad_(False)
    pictures = torch.randn(2, 5, 9, 11, dtype=torch.double)
    wanted = output_and_gradient(convolution, pictures)
    freeze_convolutions(convolution)
    assert isinstance(convolution, FrozenConv2d)
    assert convolution.product_is_faster(pictures) == (way != "convolution")
    for found, expected in zip(output_and_gradient(convolution, pictures), wanted, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("side", [4, 64])
def test_way_by_size(side: int) -> None:
    """1280 channels, as within Stable Diffusion: a product at 4 x 4, a convolution at 64 x 64."""
    convolution = FrozenConv2d(1280, 1280, 3, padding=1, device="meta")
    assert convolution.product_is_faster(torch.empty(1, 1280, side, side, device="meta")) == (side == 4)


@pytest.mark.parametrize("batch", [1, 2])
def test_one_picture_is_its_own_columns(batch: int) -> None:
    """A kernel of 1 x 1 is a product without a copy, except for a batch."""
    convolution = FrozenConv2d(320, 320, 1)
    pictures = torch.empty(batch, 320, 64, 64)
    columns = unfold(pictures, convolution.weight, convolution.stride, convolution.padding)
    assert convolution.product_is_faster(pictures) == (batch == 1)
    assert (columns.data_ptr() == pictures.data_ptr()) == (batch == 1)


@pytest.mark.parametrize("many", [0, inf])
@pytest.mark.parametrize("case", sorted(CASES))
def test_columns_are_torchs(case: str, many: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolutions, "MANY", many)
    convolution = nn.Conv2d(5, 7, **CASES[case])
    pictures = torch.randn(2, 5, 9, 11)
    kernel, stride, padding = convolution.kernel_size, convolution.stride, convolution.padding
    wanted = nn.functional.unfold(pictures, kernel, 1, padding, stride)  # (B, c * kernel, H * W)
    found = unfold(pictures, convolution.weight, stride, padding)
    assert torch.equal(found, wanted.transpose(0, 1).flatten(1))
    folded = fold(found, pictures.shape, convolution.weight, stride, padding)
    torch.testing.assert_close(folded, nn.functional.fold(wanted, (9, 11), kernel, 1, padding, stride))


def test_only_weights_are_kept(way: str) -> None:
    convolution = nn.Conv2d(5, 7, 3, padding=1).requires_grad_(False)
    freeze_convolutions(convolution)
    own = {tensor.data_ptr() for tensor in convolution.parameters()}
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.data_ptr())
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        convolution(torch.randn(2, 5, 9, 9, requires_grad=True))
    assert kept
    assert set(kept) <= own


def test_other_convolutions_are_left_alone() -> None:
    others = nn.Sequential(
        nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 4, 3, dilation=2), nn.Conv2d(4, 4, 3, padding_mode="circular")
    )
    freeze_convolutions(others)
    assert not any(isinstance(module, FrozenConv2d) for module in others)


def rows_and_losses(config: TrainConfig) -> tuple[dict[str, Tensor], list[float]]:
    processes = Processes("fp32")
    learner = Learner(prepare(config, partial(load_model, config, processes.device, processes.dtype)))
    step = SharedStep(learner.session.family, processes, largest_batch(config))
    losses = []
    for _ in range(config.steps):
        (loss,) = step.backward([learner])
        learner.update(loss)
        losses.append(loss.item())
    return learner.snapshot(), losses


@pytest.mark.parametrize("kind", [kind for kind, row in TINY_MODELS.items() if row.chunks])
def test_the_same_rows(
    kind: str, tiny_models: dict[str, Path], make_config: Callable[..., TrainConfig], way: str
) -> None:
    """After a few steps, to rounding: a thousandth of what one step moves a row."""
    config = make_config(model=str(tiny_models[kind]), steps=4, lr=1e-2)
    (lean, losses), (plain, wanted) = (rows_and_losses(replace(config, lean_unet=on)) for on in (True, False))
    assert losses == pytest.approx(wanted, rel=1e-5)
    for slot, rows in plain.items():
        torch.testing.assert_close(lean[slot], rows, rtol=0, atol=1e-5)
