"""What memory a training step takes, predicted before the first one, and how a batch is cut so that it fits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor, nn

from ...errors import BadInput
from ...families import Family
from ...files.wording import flag
from .live_bytes import kept_bytes, live_bytes
from .machine import free_bytes, resident

BUSY = 65_536  # latent positions in one pass, h * w * examples: more of them make no device faster
# What a process grows by for every byte of activations: tensors of less than 32 MB lie on glibc's heap, and those that
# are kept leave gaps between them; more so with gradient checkpointing, whose blocks come and go between what is kept.
# Fitted to what was measured (benchmarks/README.md); 1.0 where each tensor has pages of its own.
HEAP = {False: 1.45, True: 2.0}
TOKEN = "<row>"
CUDA_EXTRA = 512 * 2**20  # workspaces of cuBLAS and cuDNN, and gaps between tensors: assumed, never measured


@dataclass(frozen=True)
class MemoryPlan:
    """How a batch is cut, and what that takes."""

    micro_batch: int  # examples that go through the denoiser at once
    gradient_checkpointing: bool
    peak: int  # bytes predicted, of this process (CPU) or on its device
    available: int  # bytes that may be used


@dataclass(frozen=True)
class Needs:
    """Bytes that training takes, of this process (CPU) or on its device (GPU)."""

    encoding: int  # while pictures are encoded
    held: int  # in a step, however many examples are in it
    example: int  # in a step, for each example

    def peak(self, examples: int) -> int:
        return max(self.encoding, self.held + examples * self.example)


def plan_memory(
    family: Family,
    latent_shape: tuple[int, int, int],
    wanted: int,
    micro_batch: int | None = None,
    checkpointing: bool | None = None,
    caption: str = "",
    distinct: float = 1.0,
    available: int | None = None,
) -> MemoryPlan:
    """As many examples at once as fit, at most `wanted` and BUSY; gradient checkpointing where not even one does.

    What is not None is taken as it is. latent_shape: (c, h, w) of the largest pictures; caption: the longest one;
    distinct: captions for each example, which are encoded once each.
    Raises BadInput when nothing fits. Attention is never cut into slices: torch's fused one keeps no scores.
    """
    _, height, width = latent_shape
    if available is None:
        available = free_bytes(family.device)
    for choice in (False, True) if checkpointing is None else (checkpointing,):
        needs = predict_needs(family, latent_shape, choice, caption, distinct)
        fitting = (available - needs.held) // needs.example
        examples = micro_batch or max(1, min(wanted, BUSY // (height * width), fitting))
        plan = MemoryPlan(examples, choice, needs.peak(examples), available)
        if plan.peak <= available:
            return plan
    cures = [f"a smaller {flag('resolution')}"]
    if micro_batch and micro_batch > 1:
        cures.insert(0, f"a smaller {flag('micro_batch_size')}")
    if checkpointing is False:
        cures.append(flag("gradient_checkpointing", True))
    if family.dtype == torch.float32 and family.device.type == "cuda":
        cures.append(flag("precision", "bf16"))
    sides = f"{width * family.pixels_per_latent} x {height * family.pixels_per_latent}"
    raise BadInput(
        f"{plan.micro_batch} of {sides} pixels at once take {plan.peak / 2**30:.1f} GiB of memory and there are "
        f"{available / 2**30:.1f} GiB; choose {', '.join(cures)} or a smaller {flag('model')}"
    )


def predict_needs(
    family: Family, latent_shape: tuple[int, int, int], checkpointing: bool, caption: str = "", distinct: float = 1.0
) -> Needs:
    """What a loaded family needs that has not encoded its pictures yet; (c, h, w) is their latents' shape.

    Tensors are counted on the family's shadow for one example: more of them take as many times as much. Pictures are
    encoded between steps, so the VAE meets the models but no activations. On GPUs, CUDA_EXTRA stands for all that is
    not tensors.
    """
    twin = family.shadow(checkpointing)
    _, height, width = latent_shape
    unit = family.pixels_per_latent
    pixels = torch.empty(1, 3, height * unit, width * unit, device="meta")
    encoding = live_bytes(lambda: twin.encode_images(pixels))
    twin.placeholders.add(TOKEN, {slot.name: torch.empty(1, slot.width, device="meta") for slot in twin.slots})
    text = kept_bytes(lambda: twin.encode_text([f"{TOKEN} {caption}"]))
    example = live_bytes(lambda: step(twin, latent_shape, caption)) - round((1 - distinct) * text)

    vae = family.bring_vae()
    of_vae = tensors_of(vae)
    models = [tensor for module in family.models for tensor in tensors_of(module)]
    if family.device.type == "cuda":
        held = CUDA_EXTRA + size_of(models)
        return Needs(held + size_of(of_vae) + encoding, held, example)
    libraries = psutil.Process().memory_info().rss - resident([*models, *of_vae])
    held = libraries + size_of(models)
    touched = size_of(tensors_of(getattr(vae, "encoder", vae)))  # of the file; nothing is decoded
    return Needs(held + touched + round(HEAP[False] * encoding), held, round(HEAP[checkpointing] * example))


@torch.enable_grad()
def step(twin: Family, latent_shape: tuple[int, int, int], caption: str) -> None:
    """A training step of a shadow with one example, whose caption has one row more."""
    noisy = torch.empty(1, *latent_shape, device="meta")
    timesteps = torch.empty(1, device="meta")
    sizes = torch.empty(1, 6, device="meta")
    prediction = twin.predict(noisy, timesteps, twin.encode_text([f"{TOKEN} {caption}"]), sizes)
    (prediction - noisy).square().mean((1, 2, 3)).sum().backward()


def tensors_of(module: nn.Module) -> list[Tensor]:
    """Its weights and buffers."""
    return [*module.parameters(), *module.buffers()]


def size_of(tensors: Iterable[Tensor]) -> int:
    """In bytes."""
    return sum(tensor.nbytes for tensor in tensors)
