"""What attention reads of a text's context, whatever its length: how alike two texts are to a denoiser.

A denoiser meets a text only in cross-attention, where a query q reads sum_i softmax_i(q . k_i) v_i over all positions
i: neither their order nor their number matters by itself. So two contexts of different lengths stand in for each other
where such readings agree for all queries. Which queries a denoiser has is not known without it; random ones take their
place.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

QUERIES = 256  # random ones in a loss
SHARPNESS = 2.0  # standard deviation of the products of queries and keys
SMALLEST = 1e-6  # deviation of a column that is the same at all positions


def read(keys: Tensor, queries: Tensor, mask: Tensor | None = None) -> Tensor:
    """What queries (Q, D) read of keys (L, D), which are their own values: softmax(queries keys^T) keys, (Q, D).

    mask: (L,) bool, False at positions that are not read.
    """
    products = queries @ keys.T  # (Q, L)
    if mask is not None:
        products = products.masked_fill(~mask, float("-inf"))
    return products.softmax(dim=1) @ keys  # (Q, D)


@dataclass(frozen=True)
class Readouts:
    """The context of a text for which others are to stand in.

    Contexts are scaled column by column with the mean and the deviation of this one over its positions, so that no
    column outweighs the others, and products of queries and keys have one size in all models.
    """

    mean: Tensor  # (D,)
    deviation: Tensor  # (D,)
    keys: Tensor  # (L, D), scaled; the positions that are read

    @classmethod
    def of(cls, context: Tensor, mask: Tensor | None = None) -> Readouts:
        """context: (L, D); mask: (L,), as in `read`."""
        counted = (context if mask is None else context[mask]).float()
        mean = counted.mean(0)
        deviation = counted.std(0, unbiased=False).clamp(min=SMALLEST)
        return cls(mean, deviation, (counted - mean) / deviation)

    def queries(self, draws: torch.Generator) -> Tensor:
        """QUERIES random ones, and one that looks for each position of the text itself: (QUERIES + L, D)."""
        width = self.keys.shape[1]
        random = torch.randn(QUERIES, width, generator=draws).to(self.keys.device)
        return torch.cat([random, self.keys]) * SHARPNESS / width**0.5

    def loss(self, context: Tensor, queries: Tensor, mask: Tensor | None = None) -> Tensor:
        """The mean squared difference of what queries (Q, D) read of another context (L', D), a scalar."""
        other = (context.float() - self.mean) / self.deviation  # (L', D)
        return (read(other, queries, mask) - read(self.keys, queries)).square().mean()
