"""Gradient clipping that keeps concepts apart."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


@torch.no_grad()
def clip_gradients(gradients: Sequence[Tensor], max_norm: float) -> None:
    """Scale the gradients of one concept, in place, by min(1, max_norm / |g|).

    gradients: of all its slots, each (n, D); |g| is the norm of all of them together, so that the slots of a concept
    keep their proportions. max_norm: 0 leaves them as they are.
    """
    if not max_norm:
        return
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    for gradient in gradients:
        gradient.mul_((max_norm / (norm + 1e-6)).clamp(max=1))
