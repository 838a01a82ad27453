"""Count the floating-point operations and the bytes of a training step, without computing anything.

    python benchmarks/operations.py [--size sd15|sdxl ...]

The modules run on the `meta` device, which knows shapes only. What is counted, for each picture, is the U-Net's forward
pass, its backward pass to the text conditioning with all weights frozen, the VAE's encoder, and the text encoders in
both directions. A multiply-add counts as two operations. "GB moved" are the bytes of all tensors that
operations read and write in float32, where attention is one operation; "GB kept" are the activations, without weights,
that torch keeps for the backward pass.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from models import ARCHITECTURES, build_text_encoders, build_unet, build_vae
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from ti_trainer.training.memory.live_bytes import fused_attention

RESOLUTIONS = {"sd15": (256, 512), "sdxl": (1024,)}


@dataclass(frozen=True)
class Count:
    """The operations and bytes of a piece of work for one picture."""

    flops: int
    bytes: int
    kept: int = 0  # bytes of activations


def attention_flops(query: Sequence[int], key: Sequence[int], *others: Any, **named: Any) -> int:
    """Two products: the scores, and the values weighted with them."""
    batch, heads, queries, width = query
    return 4 * batch * heads * queries * key[2] * width


def attention_backward_flops(gradient: Sequence[int], query: Sequence[int], *others: Any, **named: Any) -> int:
    """Four products: a gradient for each of the two factors of both products."""
    return 2 * attention_flops(query, *others)


class Traffic(TorchDispatchMode):
    """Adds up the bytes that operations read and write; views move no bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return result


ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
ATTENTION_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
ATTENTION_FLOPS = {ATTENTION: attention_flops, ATTENTION_BACKWARD: attention_backward_flops}


def count(work: Callable[[], Any], weights: Iterable[Tensor] = ()) -> tuple[Count, Any]:
    """The operations and bytes of `work`, and what it returns; weights: tensors that do not count as kept."""
    frozen = {tensor.untyped_storage()._cdata for tensor in weights}
    kept: dict[int, int] = {}  # storage -> bytes, so that views of one tensor count once

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in frozen:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    with ExitStack() as stack:
        flops = stack.enter_context(FlopCounterMode(display=False, custom_mapping=ATTENTION_FLOPS))
        stack.enter_context(fused_attention())
        traffic = stack.enter_context(Traffic())
        stack.enter_context(saved_tensors_hooks(keep, lambda tensor: tensor))
        result = work()
    return Count(flops.get_total_flops(), traffic.bytes, sum(kept.values())), result


def count_unet(size: str, resolution: int) -> tuple[Count, Count]:
    """The U-Net's forward pass, and its backward pass to the conditioning."""
    unet = build_unet(size).requires_grad_(False).eval()
    side = resolution // 8
    context = torch.empty(1, 77, unet.config.cross_attention_dim, requires_grad=True)
    added = {}
    if unet.config.addition_embed_type:
        added = {"text_embeds": torch.empty(1, 1280), "time_ids": torch.empty(1, 6)}
    inputs = (torch.empty(1, 4, side, side), torch.empty(1), context)
    forward, prediction = count(lambda: unet(*inputs, added_cond_kwargs=added).sample, unet.parameters())
    backward, _ = count(lambda: prediction.backward(torch.empty_like(prediction)))
    return forward, backward


def count_vae(size: str, resolution: int) -> Count:
    """The VAE's encoder."""
    vae = build_vae(size).requires_grad_(False).eval()
    return count(lambda: vae.encode(torch.empty(1, 3, resolution, resolution)))[0]


def count_text(size: str) -> tuple[Count, Count]:
    """The forward passes of all text encoders, and their backward passes to the embeddings of a caption."""
    totals = [Count(0, 0), Count(0, 0)]
    for encoder in build_text_encoders(size):
        encoder.requires_grad_(False).eval()
        table = encoder.get_input_embeddings()
        table.register_forward_hook(lambda module, inputs, output: output.requires_grad_())
        ids = torch.zeros(1, 77, dtype=torch.long)
        forward, hidden = count(lambda encoder=encoder, ids=ids: encoder(ids).last_hidden_state, encoder.parameters())
        backward, _ = count(lambda hidden=hidden: hidden.backward(torch.empty_like(hidden)))
        totals = [
            Count(a.flops + b.flops, a.bytes + b.bytes, a.kept + b.kept)
            for a, b in zip(totals, (forward, backward), strict=True)
        ]
    return totals[0], totals[1]


def count_step(size: str, resolution: int) -> dict[str, Count]:
    """The operations and bytes for one picture, by name of the work."""
    with torch.device("meta"):
        forward, backward = count_unet(size, resolution)
        text_forward, text_backward = count_text(size)
        return {
            "U-Net forward": forward,
            "U-Net backward": backward,
            "text forward": text_forward,
            "text backward": text_backward,
            "VAE encode": count_vae(size, resolution),
        }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="+", choices=sorted(ARCHITECTURES), default=sorted(ARCHITECTURES))
    options = parser.parse_args(arguments)
    print("| model | pixels | work for one picture | TFLOP | GB moved | GB kept |\n|---|---|---|---|---|---|")
    for size in options.size:
        for resolution in RESOLUTIONS[size]:
            for name, found in count_step(size, resolution).items():
                numbers = f"{found.flops / 1e12:.3f} | {found.bytes / 1e9:.2f} | {found.kept / 1e9:.2f}"
                print(f"| {size} | {resolution} | {name} | {numbers} |")


if __name__ == "__main__":
    main()
