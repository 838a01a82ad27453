"""Copies of models with other tensors: on the `meta` device, where nothing is computed or held, or in the same "
"memory."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..method.placeholders import PlaceholderEmbedding, Placeholders
from .quantizing import plain_layers

Module = TypeVar("Module", bound=nn.Module)


def shadow(module: Module) -> Module:
    """A copy whose tensors are on `meta`; its parts keep their classes, and so what they keep for a backward pass."""
    return copy_with(module, on_meta, plain_layers(module))


def share_weights(module: Module) -> Module:
    """A copy of a module and of all modules in it whose parameters lie in the same memory, frozen."""
    return copy_with(module, torch.Tensor.detach).requires_grad_(False)


def copy_with(
    module: Module, replaced: Callable[[Tensor], Tensor], layers: Mapping[int, nn.Module] | None = None
) -> Module:
    """A copy of a module and of all modules in it, with other tensors for its parameters and buffers.

    layers: what takes the places of modules, by their ids.
    """
    memo: dict[int, Any] = dict(layers or {})
    for parameter in module.parameters():
        memo[id(parameter)] = nn.Parameter(replaced(parameter), requires_grad=parameter.requires_grad)
    for buffer in module.buffers():
        memo[id(buffer)] = replaced(buffer)
    return copy.deepcopy(module, memo)


def on_meta(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, device="meta")


def shadow_encoder(encoder: Any, slot: str, placeholders: Placeholders) -> Any:
    """The same of a text encoder, for rows that `placeholders` knows."""
    encoder = shadow(encoder)
    frozen = encoder.get_input_embeddings().frozen
    encoder.set_input_embeddings(PlaceholderEmbedding(frozen, slot, placeholders))
    return encoder
