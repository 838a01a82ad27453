"""Gradient clipping: a concept at a time."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import Parameter
from torch.nn.utils import clip_grad_norm_

from ti_trainer.method.clipping import clip_gradients


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("max_norm", [0.5, 3.0, 1e3])
def test_clipping_is_torch_s_on_each_concept(max_norm: float) -> None:
    """Two concepts, two slots with different numbers of rows and columns."""
    concepts = [
        [randn(2, 4) * 0.3, randn(1, 6, seed=1)],
        [randn(3, 4, seed=2) * 0.3, randn(3, 6, seed=3)],
    ]
    for gradients in concepts:
        parameters = [Parameter(torch.zeros_like(gradient)) for gradient in gradients]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        norm = clip_grad_norm_(parameters, max_norm, foreach=False).item()
        clip_gradients(gradients, max_norm)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            torch.testing.assert_close(gradient, parameter.grad)
        clipped = math.sqrt(sum(gradient.square().sum().item() for gradient in gradients))
        assert clipped == pytest.approx(min(norm, max_norm), rel=1e-5)


def test_clipping_by_hand() -> None:
    """Down to the norm that all slots have together, and never up to it."""
    gradients = [torch.tensor([[300.0, 0.0]]), torch.tensor([[400.0]])]
    clip_gradients(gradients, 1.0)
    torch.testing.assert_close(gradients, [torch.tensor([[0.6, 0.0]]), torch.tensor([[0.8]])])
    small = torch.tensor([[0.3, 0.4]])
    clip_gradients([small], 1.0)
    assert torch.equal(small, torch.tensor([[0.3, 0.4]]))


def test_clipping_switched_off_and_gradients_of_zero() -> None:
    gradient = torch.full((2, 2), 1e6)
    clip_gradients([gradient], 0)
    assert torch.equal(gradient, torch.full((2, 2), 1e6))
    gradient = torch.zeros(2, 2)
    clip_gradients([gradient], 1.0)
    assert torch.equal(gradient, torch.zeros(2, 2))
