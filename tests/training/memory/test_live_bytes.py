"""Memory counted without weights, against what real passes on the CPU keep."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from tests.families.inputs import inputs, load
from ti_trainer.families import Family
from ti_trainer.families.lean import convolutions
from ti_trainer.training.memory import live_bytes
from ti_trainer.training.memory import plan as memory
from ti_trainer.training.memory.live_bytes import LiveBytes, fused_attention


def kept(family: Family, examples: int) -> int:
    """What is alive after a forward pass of the U-Net and was not before, in bytes."""
    noisy, timesteps, text, sizes = inputs(family, examples)
    with fused_attention(), LiveBytes() as count:
        prediction = family.predict(noisy, timesteps, text, sizes)
        found = count.live
    del prediction
    return found


def test_closed_form() -> None:
    """The most at one moment: neither the sum of all tensors, nor what is left at the end; views are free."""

    def work() -> Tensor:
        first = torch.empty(10, device="meta")  # 40 bytes
        second = first + 1  # 40
        del first
        both = torch.cat([second, second.view(5, 2).flatten()])  # 80 beside the 40 of `second`
        del second
        return both.double()[:1]  # 160 beside the 80 of `both`

    assert live_bytes.live_bytes(work) == 240


def test_attention_keeps_no_scores() -> None:
    """Its output and the logarithm of a sum for each query, of 2 heads."""
    query, key = (torch.empty(1, 2, length, 8, device="meta", requires_grad=True) for length in (600, 500))
    assert (
        live_bytes.live_bytes(lambda: F.scaled_dot_product_attention(query, key, key)) == 2 * 600 * 8 * 4 + 2 * 600 * 4
    )


def test_kept_bytes_are_those_that_autograd_keeps(any_model: Path) -> None:
    """On `meta` as many as hooks find on a real run, the prediction included, and inputs and weights not."""
    family = load(any_model)
    noisy, timesteps, text, sizes = inputs(family, 2)
    given = [noisy, timesteps, text.context, text.pooled, sizes, *memory.tensors_of(family.denoiser)]
    ours = {tensor.untyped_storage().data_ptr() for tensor in given if tensor is not None}
    seen: dict[int, Any] = {}

    def keep(tensor: Tensor) -> Tensor:
        seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        prediction = family.predict(noisy, timesteps, text, sizes)
    keep(prediction)
    real = sum(storage.nbytes() for place, storage in seen.items() if place not in ours)
    assert kept(family.shadow(checkpointing=False), 2) == real


@pytest.mark.parametrize("checkpointing", [False, True])
def test_peak_is_that_of_a_real_step(any_model: Path, checkpointing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tensor of a real step, forward and backward, with torch's own operations."""
    family: Any = load(any_model)
    if checkpointing:
        family.denoiser.enable_gradient_checkpointing()
    twin = family.shadow(checkpointing)

    def step(family: Family, on: Any) -> int:
        noisy, timesteps, text, sizes = inputs(family, 2)
        with on(), LiveBytes() as count:
            family.predict(noisy, timesteps, text, sizes).square().mean().backward()
        return count.peak

    predicted = step(twin, fused_attention)
    monkeypatch.setattr(live_bytes, "SHORT_CUTS", {})
    assert predicted == step(family, fused_attention)


def test_proportional_to_the_examples(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for some numbers that all examples share; were it as products, columns would count for few examples only."""
    monkeypatch.setattr(convolutions, "OUTWEIGHED", float("inf"))
    twin = family.shadow(checkpointing=False)
    assert kept(twin, 6) == pytest.approx(6 * kept(twin, 1), rel=1e-3)


def test_checkpointing_keeps_less(any_model: Path) -> None:
    family = load(any_model)
    assert kept(family.shadow(checkpointing=True), 1) < 0.5 * kept(family.shadow(checkpointing=False), 1)
