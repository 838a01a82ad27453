"""A step's batch where all views have one shape; training groups them by shape."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from ti_trainer.data.batches import Batch, ConceptData, draw_example, stack_draws


def draw_batch(
    data: ConceptData,
    seed: int,
    step: int,
    indices: Iterable[int],
    batch_size: int,
    timesteps: Callable[[Tensor], Tensor] = torch.clone,
) -> Batch:
    """The examples `indices` of the `batch_size` that a concept sees at `step`, whose views must be of one shape."""
    return stack_draws([draw_example(data, seed, step, index, batch_size, timesteps) for index in indices])
