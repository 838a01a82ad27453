"""What a denoiser is told by a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Conditioning:
    """What a denoiser is told, or what one text encoder gives of it."""

    context: Tensor  # (B, L, D)
    pooled: Tensor | None = None  # (B, P)
    mask: Tensor | None = None  # (B, L) bool on the CPU, True where the context counts; None: everywhere

    def __getitem__(self, index: Sequence[int]) -> Conditioning:
        pooled = None if self.pooled is None else pick_rows(self.pooled, index)
        mask = None if self.mask is None else pick_rows(self.mask, index)
        return Conditioning(pick_rows(self.context, index), pooled, mask)

    @property
    def energy(self) -> Tensor:
        """The sum of all squares, a scalar: whatever a denoiser is told by has a gradient of it."""
        context = self.context.float().square().sum()
        return context if self.pooled is None else context + self.pooled.float().square().sum()


def pick_rows(tensor: Tensor, index: Sequence[int]) -> Tensor:
    """`tensor[index]` whose gradient is summed in one order: that of indexing is a race between threads."""
    parts = tensor.unbind()
    return torch.stack([parts[i] for i in index])


def join_windows(text: Conditioning, counts: Sequence[int]) -> Conditioning:
    """Context (N, T, D) of N windows -> (texts, L, D), of which text i has the next counts[i].

    Shorter texts are filled up with their first window, which the mask leaves out beside what the windows' own masks
    leave out; pooled is the first window's.
    """
    most = max(counts)
    size = text.context.shape[1]
    starts = [sum(counts[:i]) for i in range(len(counts))]
    rows: list[int] = []
    known = []
    for start, count in zip(starts, counts, strict=True):
        rows += [*range(start, start + count), *[start] * (most - count)]
        known.append([True] * (count * size) + [False] * ((most - count) * size))
    context = pick_rows(text.context, rows).unflatten(0, (-1, most)).flatten(1, 2)  # (texts, most * T, D)
    mask = None if min(counts) == most else torch.tensor(known)  # (texts, most * T)
    if text.mask is not None:
        own = pick_rows(text.mask, rows).unflatten(0, (-1, most)).flatten(1, 2)  # (texts, most * T)
        mask = own if mask is None else mask & own
    return Conditioning(context, None if text.pooled is None else pick_rows(text.pooled, starts), mask)
