"""Memory counted without weights, against what real runs on the CPU hold; and how a batch is cut to fit."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from ti_trainer import BadInput, ModelConfig
from ti_trainer.families import Conditioning, Family, load_family
from ti_trainer.families.lean import convolutions
from ti_trainer.training.memory import live_bytes, machine
from ti_trainer.training.memory import plan as memory
from ti_trainer.training.memory.live_bytes import LiveBytes, fused_attention
from ti_trainer.training.memory.plan import MemoryPlan, Needs, plan_memory, predict_needs

SHAPE = (4, 8, 8)
CPU = torch.device("cpu")


def load(model: Path) -> Family:
    return load_family(ModelConfig(model=str(model)), CPU, torch.float32)


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 1000),
        ({"memory.max": "max", "memory.current": "700", "memory.stat": "active_file 1\ninactive_file 2"}, 1000),
        ({"memory.max": "900", "memory.current": "700", "memory.stat": "active_file 30\ninactive_file 5"}, 235),
        ({"memory.max": "900", "memory.current": "950", "memory.stat": "active_file 30\ninactive_file 5"}, 0),
        ({"memory.max": "9000", "memory.current": "700", "memory.stat": "active_file 3\ninactive_file 5"}, 1000),
        (
            {
                "memory/memory.limit_in_bytes": "900",
                "memory/memory.usage_in_bytes": "700",
                "memory/memory.stat": "cache 9\ntotal_inactive_file 40\ntotal_active_file 4",
            },
            244,
        ),
    ],
)
def test_memory_of_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], free: int
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{content}\n", encoding="utf-8")
    assert machine.available_bytes(tmp_path) == free


def inputs(family: Family, examples: int) -> tuple[Tensor, Tensor, Conditioning, Tensor]:
    """What `predict` takes, on the family's device, with a context that wants a gradient."""
    torch.manual_seed(0)
    with torch.no_grad():
        text = family.encode_text(["a cat"] * examples)
    given = Conditioning(torch.empty_like(text.context).normal_().requires_grad_(), text.pooled)
    with family.device:
        noisy = torch.randn(examples, family.latent_channels, 8, 8)
        return noisy, torch.full((examples,), 500), given, torch.zeros(examples, 6)


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


def test_a_shadow_leaves_the_family_alone(any_model: Path) -> None:
    family: Any = load(any_model)
    with torch.no_grad():
        before = family.predict(*inputs(family, 1))
        predict_needs(family, (family.latent_channels, 8, 8), checkpointing=True)
        assert torch.equal(family.predict(*inputs(family, 1)), before)
    assert not family.denoiser.is_gradient_checkpointing
    assert not any(tensor.is_meta for tensor in memory.tensors_of(family.denoiser))


def test_captions_that_are_shared_are_kept_once(family: Family) -> None:
    """Half as many captions as examples take half of what the text encoder keeps for one, beside the U-Net's."""
    apart, shared = (predict_needs(family, SHAPE, False, "a red cat", distinct).example for distinct in (1.0, 0.5))
    twin = family.shadow(checkpointing=False)
    twin.placeholders.add("<a>", {slot.name: torch.empty(1, slot.width, device="meta") for slot in twin.slots})
    kept_for_one = live_bytes.kept_bytes(lambda: twin.encode_text(["<a> a red cat"]))
    assert apart - shared == pytest.approx(memory.HEAP[False] * kept_for_one / 2, rel=0.05)
    assert kept_for_one > 0


@pytest.fixture
def needs(monkeypatch: pytest.MonkeyPatch) -> dict[bool, Needs]:
    """Made-up needs, with checkpointing and without."""
    made_up = {False: Needs(encoding=90, held=100, example=50), True: Needs(encoding=90, held=100, example=20)}
    monkeypatch.setattr(memory, "predict_needs", lambda family, shape, checkpointing, *text: made_up[checkpointing])
    return made_up


@pytest.mark.parametrize(
    ("available", "planned"),
    [
        (1000, MemoryPlan(8, False, 500, 1000)),  # all that is wanted
        (349, MemoryPlan(4, False, 300, 349)),  # first fewer at once
        (150, MemoryPlan(1, False, 150, 150)),
        (149, MemoryPlan(2, True, 140, 149)),  # then checkpointing
        (120, MemoryPlan(1, True, 120, 120)),
    ],
)
def test_fewer_at_once_first_then_checkpointing(
    family: Family, needs: dict[bool, Needs], available: int, planned: MemoryPlan
) -> None:
    assert plan_memory(family, SHAPE, 8, available=available) == planned


def test_what_the_user_says_is_taken(family: Family, needs: dict[bool, Needs]) -> None:
    assert plan_memory(family, SHAPE, 8, micro_batch=3, available=250) == MemoryPlan(3, False, 250, 250)
    assert plan_memory(family, SHAPE, 8, micro_batch=3, available=249) == MemoryPlan(3, True, 160, 249)
    assert plan_memory(family, SHAPE, 8, checkpointing=True, available=1000) == MemoryPlan(8, True, 260, 1000)


def test_no_more_than_keeps_a_device_busy(family: Family, needs: dict[bool, Needs]) -> None:
    """16 examples of 64 x 64 latents are 65,536 positions; one is always in."""
    assert plan_memory(family, (4, 64, 64), 99, available=10**6).micro_batch == 16
    assert plan_memory(family, (4, 512, 512), 99, available=10**6).micro_batch == 1


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({}, "^1 of 64 x 64 pixels at once take .* choose a smaller --resolution or a smaller --model"),
        ({"micro_batch": 3}, "^3 of 64 x 64 .* choose a smaller --micro_batch_size, a smaller --resolution or"),
        ({"checkpointing": False}, "choose a smaller --resolution, --gradient_checkpointing or"),
    ],
)
def test_nothing_fits(family: Family, needs: dict[bool, Needs], choices: dict[str, Any], message: str) -> None:
    unit = family.pixels_per_latent
    with pytest.raises(BadInput, match=message):
        plan_memory(family, (4, 64 // unit, 64 // unit), 8, available=119, **choices)


def test_encoding_must_fit_too(family: Family, needs: dict[bool, Needs]) -> None:
    needs[False] = needs[True] = Needs(encoding=200, held=100, example=20)
    assert plan_memory(family, SHAPE, 2, available=200).peak == 200
    with pytest.raises(BadInput, match="choose a smaller --resolution"):
        plan_memory(family, SHAPE, 2, available=199)


@pytest.mark.skipif(sys.platform != "linux", reason="where pages are mapped is read from /proc")
def test_weights_count_when_they_are_touched(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(16, 2**20)}, tmp_path / "weights.safetensors")
    weight = load_file(tmp_path / "weights.safetensors")["weight"]
    assert memory.resident([weight]) < weight.nbytes / 2
    assert weight.sum() == weight.numel()
    assert memory.resident([weight]) == pytest.approx(weight.nbytes, rel=0.01)
    assert memory.resident([torch.ones(1000)]) == 4000
