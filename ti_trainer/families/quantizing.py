"""Frozen weights of 8 or 4 bits: a quarter to a half of the memory, for models that would not fit otherwise.

Dettmers et al. 2022, "LLM.int8()", and 2023, "QLoRA": gradients go through the layers to the rows and never to weights.
bitsandbytes has the layers (extra [quant]).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BadInput
from ..files.wording import flag

# setting -> the layer in place of another one, in a type that sums are computed in
Layer = Callable[[Any, nn.Linear, torch.dtype], nn.Module]


def in_8_bits(bnb: Any, layer: nn.Linear, dtype: torch.dtype) -> nn.Module:
    made = layer_of_rows(bnb)(
        layer.in_features, layer.out_features, bias=layer.bias is not None, has_fp16_weights=False, device="meta"
    )
    made.weight = bnb.nn.Int8Params(layer.weight.data, requires_grad=False, has_fp16_weights=False)
    return made


@cache
def layer_of_rows(bnb: Any) -> Any:
    """bitsandbytes' layer of 8 bits, which on CPUs rounds along the wrong dimension where there are more than two."""

    class Linear8bitOfRows(bnb.nn.Linear8bitLt):
        def forward(self, inputs: Tensor) -> Tensor:
            found: Tensor = super().forward(inputs.reshape(-1, inputs.shape[-1]))
            return found.reshape(*inputs.shape[:-1], -1)

    return Linear8bitOfRows


def in_4_bits(bnb: Any, layer: nn.Linear, dtype: torch.dtype) -> nn.Module:
    made = bnb.nn.Linear4bit(
        layer.in_features,
        layer.out_features,
        bias=layer.bias is not None,
        compute_dtype=dtype,
        quant_type="nf4",
        device="meta",
    )
    made.weight = bnb.nn.Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4")
    made.support_avx512bf16_for_cpu = False  # it would pack the weights for inference, and no gradient goes through
    return made


LAYERS: dict[str, Layer] = {"8bit": in_8_bits, "4bit": in_4_bits}


def quantize(module: nn.Module, how: str, dtype: torch.dtype) -> None:
    """Put layers of fewer bits in place of a frozen model's linear ones; they are rounded when they move to a device.

    how: a row of LAYERS; dtype: in which sums are computed. Layers that a model wants in float32 stay as they are.
    Raises BadInput where bitsandbytes is not installed.
    """
    try:
        import bitsandbytes
    except ImportError:
        raise BadInput(f"{flag('quantize', how)} needs bitsandbytes: pip install 'ti_trainer[quant]'") from None
    kept = set(getattr(module, "_keep_in_fp32_modules", None) or ())
    for parent, name, layer in list(linear_layers(module)):
        if name not in kept:
            made = LAYERS[how](bitsandbytes, layer, dtype)
            made.bias = layer.bias
            setattr(parent, name, made.eval())


def linear_layers(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    """Every plain linear layer in a model, with the module that it is in and its name there."""
    for parent in module.modules():
        for name, child in parent.named_children():
            if type(child) is nn.Linear:
                yield parent, name, child


def plain_layers(module: nn.Module) -> dict[int, nn.Module]:
    """For each layer of fewer bits, by its id, a plain one on the `meta` device: it keeps as much of what it reads."""
    return {
        id(layer): nn.Linear(
            layer.in_features, layer.out_features, layer.bias is not None, device="meta"
        ).requires_grad_(False)
        for layer in module.modules()
        if isinstance(layer, nn.Linear) and not layer.weight.is_floating_point()
    }
