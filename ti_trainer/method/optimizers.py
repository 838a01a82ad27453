"""How rows move: update rules, learning-rate schedules, and clipping that keeps concepts apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ..errors import BadInput
from ..files.wording import flag

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter
    from torch.optim import Optimizer


def adamw(rows: Iterable[Parameter], lr: float, weight_decay: float) -> Optimizer:
    from torch.optim import AdamW

    # fused: one operation for each parameter; these have a few kilobytes
    return AdamW(rows, lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=weight_decay, fused=True)


OPTIMIZERS: dict[str, Callable[[Iterable[Parameter], float, float], Optimizer]] = {"adamw": adamw}


def check_optimizer(name: str) -> None:
    """Raises BadInput for an update rule that does not exist."""
    if name not in OPTIMIZERS:
        raise BadInput(f"{flag('optimizer')} is '{name}'; choose one of {', '.join(OPTIMIZERS)}")


def get_optimizer(name: str) -> Callable[[Iterable[Parameter], float, float], Optimizer]:
    check_optimizer(name)
    return OPTIMIZERS[name]


def clip_gradients(gradients: Sequence[Tensor], max_norm: float) -> None:
    """Scale a concept's gradients, of all its slots together, down to `max_norm` (0: leave them as they are)."""
    if not max_norm:
        return
    import torch

    with torch.no_grad():
        norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
        for gradient in gradients:
            gradient.mul_((max_norm / (norm + 1e-6)).clamp(max=1))
