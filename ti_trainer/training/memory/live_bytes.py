"""How many bytes of tensors a piece of work holds at once: counted on the `meta` device, where nothing is computed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten


def live_bytes(work: Callable[[], object]) -> int:
    """The most bytes that the tensors made by `work` fill at one moment, whatever it returns included.

    Counts what is kept for the backward pass, what is passed on, and gradients; not what an operation uses inside.
    """
    with fused_attention(), LiveBytes() as count:
        work()
    return count.peak


def kept_bytes(work: Callable[[], object]) -> int:
    """The bytes of tensors made by `work` that are there as long as what it returns: its graph's included."""
    with fused_attention(), LiveBytes() as count:
        result = work()
        kept = count.live
    del result
    return kept


class LiveBytes(TorchDispatchMode):
    """Follows every tensor that an operation makes until its last view, or the graph that keeps it, is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._held: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = SHORT_CUTS.get(func, func)(*args, **(kwargs or {}))
        if not func.is_view:
            for leaf in (result,) if isinstance(result, Tensor) else tree_leaves(result):
                if isinstance(leaf, Tensor):
                    self._follow(leaf.untyped_storage())
        return result

    def _follow(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        size = storage.nbytes()
        if key in self._held:
            return

        def free(_: object) -> None:
            self.live -= size
            del self._held[key]

        self._held[key] = weakref.ref(storage, free)
        self.live += size
        self.peak = max(self.peak, self.live)


@contextmanager
def fused_attention() -> Iterator[None]:
    """Attention on the `meta` device as one operation, as on others: it would write out all its scores.

    A patch and not a mode: modes are off inside a backward pass, which computes again what checkpointing has dropped.
    """
    original = torch.nn.functional.scaled_dot_product_attention

    def fused(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **others: Any) -> Tensor:
        if not query.is_meta:  # of another thread
            return original(query, key, value, attn_mask=attn_mask, **others)
        others.pop("enable_gqa", None)
        return aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, attn_mask=attn_mask, **others)[0]

    with patch.object(torch.nn.functional, "scaled_dot_product_attention", fused):
        yield


def elementwise(left: Any, right: Any, **_: Any) -> Tensor:
    tensors = [side for side in (left, right) if isinstance(side, Tensor)]
    shape = torch.broadcast_shapes(*(tensor.shape for tensor in tensors))
    return tensors[0].new_empty(shape, dtype=torch.result_type(left, right))


def product(added: Tensor, left: Tensor, right: Tensor, **_: Any) -> Tensor:
    return left.new_empty(len(left), right.shape[1])


def like_first(first: Tensor, *_: Any, **__: Any) -> Tensor:
    return torch.empty_like(first)


def group_norm(
    input: Tensor, weight: Any, bias: Any, batch: int, channels: int, size: int, groups: int, *_: Any
) -> Any:
    return torch.empty_like(input), input.new_empty(batch, groups), input.new_empty(batch, groups)


def layer_norm(input: Tensor, shape: Any, *_: Any) -> Any:
    statistics = input.shape[: input.dim() - len(shape)] + (1,) * len(shape)
    return torch.empty_like(input), input.new_empty(statistics), input.new_empty(statistics)


def norm_backward(gradient: Tensor, *_: Any) -> Any:
    return torch.empty_like(gradient), None, None  # nobody asks for the gradients of frozen scales


# What operations return, empty, that torch works out in Python and from simpler operations: most of a count's time.
# For `meta` only.
SHORT_CUTS: dict[Any, Callable[..., Any]] = {
    aten.add.Tensor: elementwise,
    aten.sub.Tensor: elementwise,
    aten.mul.Tensor: elementwise,
    aten.div.Tensor: elementwise,
    aten.addmm.default: product,
    aten.gelu.default: like_first,
    aten.gelu_backward.default: like_first,
    aten.native_group_norm.default: group_norm,
    aten.native_layer_norm.default: layer_norm,
    aten.native_group_norm_backward.default: norm_backward,
    aten.native_layer_norm_backward.default: norm_backward,
}
