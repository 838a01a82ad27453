"""One step of several concepts at once: their examples share the U-Net's batches, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config.config import TrainConfig
from ..data.batches import same_shape, stack_draws
from ..families import Family
from ..method.weightings import Weighting
from .learner import Learner
from .memory.plan import BUSY
from .objective import denoising_losses
from .processes import Processes
from .validation import fixed_noise_losses

# Gradients of float16 activations vanish below 6e-8: the loss is scaled up, the rows' float32 gradients down again.
LOSS_SCALE = {torch.float32: 1.0, torch.bfloat16: 1.0, torch.float16: 4096.0}


@dataclass(frozen=True)
class SharedStep:
    """The frozen model on which learners work; largest: shape of latents -> how many go through the U-Net at once."""

    family: Family
    processes: Processes
    largest: Callable[[tuple[int, ...]], int]

    def backward(self, learners: Sequence[Learner]) -> list[Tensor]:
        """Leave the gradient of each learner's present step, over all processes, in its rows; returns their losses.

        Each concept's loss, a scalar, is the mean over its own examples, and their sum is what is differentiated.
        """
        scale = LOSS_SCALE[self.family.dtype]
        for learner in learners:
            learner.optimizer.zero_grad()
        draws = {
            (number, index): learner.draw(index)
            for number, learner in enumerate(learners)
            for index in self.processes.share(learner.config.batch_size)
        }
        parts: list[list[Tensor]] = [[] for _ in learners]
        for group in same_shape(draws, self.largest):
            batch = stack_draws([draws[each] for each in group]).to(self.family.device)
            weighting = weigh_each([learners[number].weighting for number, _ in group])
            losses = denoising_losses(self.family, batch, weighting) * batch.shares  # (B,)
            (losses.sum() * scale).backward()
            for (number, _), part in zip(group, losses.detach().unbind(), strict=True):
                parts[number].append(part)

        nothing = torch.zeros((), device=self.family.device)
        sums = [torch.stack([nothing, *own]).sum() for own in parts]
        rows = [rows for learner in learners for rows in learner.parameters]
        gradients = [torch.zeros_like(each) if each.grad is None else each.grad / scale for each in rows]
        gradients, sums = self.processes.sum(gradients, sums)
        for each, gradient in zip(rows, gradients, strict=True):
            each.grad = gradient
        return sums

    def fixed_noise_losses(self, learners: Sequence[Learner]) -> list[float]:
        """The fixed-noise loss of each learner's present rows."""
        draws = {
            (number, index): learner.fixed_draw(index)
            for number, learner in enumerate(learners)
            for index in self.processes.share(learner.config.validation_samples)
        }
        losses = fixed_noise_losses(self.family, draws, self.largest)
        nothing = torch.zeros((), device=self.family.device)
        sums = [
            torch.stack([nothing, *(losses[each] * draws[each].share for each in draws if each[0] == number)]).sum()
            for number in range(len(learners))
        ]
        (sums,) = self.processes.sum(sums)
        return torch.stack(sums).tolist() if sums else []


def weigh_each(weightings: Sequence[Weighting]) -> Weighting:
    """The weighting of a batch in which each example has its own."""
    first, *others = weightings
    if all(other is first for other in others):
        return first
    return lambda snr, kind: torch.cat([one(part, kind) for one, part in zip(weightings, snr.split(1), strict=True)])


def largest_batch(config: TrainConfig, positions: int = BUSY) -> Callable[[tuple[int, ...]], int]:
    """Latents' shape (c, h, w) -> how many go through the U-Net at once: as many as the config says, or as `positions`.

    positions: of the latents, h x w, of all examples together.
    """
    return lambda shape: config.micro_batch_size or max(1, positions // math.prod(shape[1:]))
