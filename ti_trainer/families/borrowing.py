"""Training on a pipeline that somebody has loaded, without changing it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, TypeAlias

from torch import nn

from .shadows import share_weights

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

Pipeline: TypeAlias = "DiffusionPipeline"  # for rooms that do not know diffusers


def borrow(pipeline: Pipeline) -> Any:
    """A pipeline of the same kind whose models share the weights of a loaded one, and nothing else.

    Tokens, embeddings, classes of layers, gradient checkpointing and schedulers of it may be changed, and its models
    moved to another device or type: the loaded pipeline stays as it was.
    """
    twin = copy.copy(pipeline)
    for name, part in pipeline.components.items():
        if isinstance(part, nn.Module):
            setattr(twin, name, share_weights(part))
        elif part is not None:
            setattr(twin, name, copy.deepcopy(part))
    return twin
