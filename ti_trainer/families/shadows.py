"""Models without weights: on the `meta` device shapes are known, and nothing is computed or held."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..method.placeholders import PlaceholderEmbedding, Placeholders

Module = TypeVar("Module", bound=nn.Module)


def shadow(module: Module) -> Module:
    """A copy whose tensors are on `meta`; its parts keep their classes, and so what they keep for a backward pass."""
    memo: dict[int, Any] = {}
    for parameter in module.parameters():
        memo[id(parameter)] = nn.Parameter(on_meta(parameter), requires_grad=parameter.requires_grad)
    for buffer in module.buffers():
        memo[id(buffer)] = on_meta(buffer)
    return copy.deepcopy(module, memo)


def on_meta(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, device="meta")


def shadow_encoder(encoder: Any, slot: str, placeholders: Placeholders) -> Any:
    """The same of a text encoder, for rows that `placeholders` knows."""
    encoder = shadow(encoder)
    frozen = encoder.get_input_embeddings().frozen
    encoder.set_input_embeddings(PlaceholderEmbedding(frozen, slot, placeholders))
    return encoder
