"""Rows on a sphere: what is learned is a direction, and the length stays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

EPS = 1e-12  # far below any gradient, so that the steps do not depend on the scale of the loss


class Sphere(Optimizer):
    """Adam on the directions of rows, each row by itself.

    A row is r = L u with |u| = 1. With G the gradient of r, P(x) = x - (x.u) u the projection to the tangent at u, and
    s the direction in which the row starts, step t is

        g = P(|r| G)                            the gradient of u
        g = g - rho |g| P(s)                    a pull towards the start
        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g^2           in every column
        u = d / |d|, d = u - lr P((m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + EPS)) / sqrt(D)
        r = L u

    with D columns, so that a step turns the row by atan(lr |P(...)| / sqrt(D)), whatever the scale of the model's table
    and of the loss, and the first one by about lr radians, whatever D. A schedule brings lr to 0. After Directional
    Textual Inversion (2025, arXiv 2512.13672), which divides the gradient by its norm, has no moments, and pulls by a
    constant.
    """

    def __init__(
        self,
        rows: Iterable[Parameter],
        lr: float,
        betas: Sequence[float] = (0.9, 0.99),
        length: float = 1,
        rho: float = 0,
    ) -> None:
        """rows: (n, D), of which none may be zero; lr: in radians; betas: beta1 and beta2, of the moments.

        length: L in units of the length that each row has now, which it gets with the first step; rho: the pull in
        units of the gradient, 0 for none. Raises ValueError for other values than that.
        """
        for name, beta in zip(("beta1", "beta2"), betas, strict=True):
            if not 0 <= beta < 1:
                raise ValueError(f"{name} is {beta:g}; choose at least 0 and less than 1")
        if not 0 < length < float("inf"):
            raise ValueError(f"length is {length:g}; choose a positive number, 1 for the length of the start")
        if not 0 <= rho < float("inf"):
            raise ValueError(f"rho is {rho:g}; choose 0 or a positive number")
        super().__init__(rows, {"lr": lr, "beta1": betas[0], "beta2": betas[1], "rho": rho})
        for own in self.parameters():
            present = own.detach().norm(dim=1, keepdim=True)  # (n, 1)
            if not present.all():
                raise ValueError("a row starts with zeros and has no direction; start it from a word")
            self.state[own] = {
                "step": 0,
                "length": length * present,
                "start": own.detach() / present,
                "mean": torch.zeros_like(own),
                "square": torch.zeros_like(own),
            }

    def parameters(self) -> list[Parameter]:
        return [own for group in self.param_groups for own in group["params"]]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step of all rows that have a gradient; closure is not used."""
        for group in self.param_groups:
            for own in group["params"]:
                if own.grad is not None:
                    self.turn(own, own.grad, self.state[own], group)

    def turn(self, own: Parameter, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One step of rows (n, D) along their gradient (n, D); state and group: what the optimiser keeps of them."""
        state["step"] += 1
        present = own.norm(dim=1, keepdim=True)  # (n, 1)
        direction = own / present
        slope = to_tangent(present * gradient, direction)
        if group["rho"]:
            size = slope.norm(dim=1, keepdim=True)  # (n, 1)
            slope = slope - group["rho"] * size * to_tangent(state["start"], direction)
        state["mean"].lerp_(slope, 1 - group["beta1"])
        state["square"].lerp_(slope.square(), 1 - group["beta2"])
        mean = state["mean"] / (1 - group["beta1"] ** state["step"])
        square = state["square"] / (1 - group["beta2"] ** state["step"])
        step = to_tangent(mean / (square.sqrt() + EPS), direction) / math.sqrt(own.shape[1])
        own.copy_(state["length"] * F.normalize(direction - group["lr"] * step, dim=1))


def to_tangent(vectors: Tensor, directions: Tensor) -> Tensor:
    """Vectors (n, D) without their parts along unit vectors (n, D)."""
    return vectors - (vectors * directions).sum(1, keepdim=True) * directions
