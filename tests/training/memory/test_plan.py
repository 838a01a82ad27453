"""What a step is expected to need, and how a batch is cut to fit."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.families.inputs import inputs, load
from ti_trainer import BadInput
from ti_trainer.families import Family
from ti_trainer.training.memory import live_bytes
from ti_trainer.training.memory import plan as memory
from ti_trainer.training.memory.plan import MemoryPlan, Needs, plan_memory, predict_needs

SHAPE = (4, 8, 8)
pytestmark = pytest.mark.memory


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
        ({}, "^1 of 64 x 64 pixels at once take .* choose a smaller resolution or a smaller model"),
        ({"micro_batch": 3}, "^3 of 64 x 64 .* choose a smaller micro_batch_size, a smaller resolution or"),
        ({"checkpointing": False}, "choose a smaller resolution, gradient_checkpointing=True or"),
    ],
)
def test_nothing_fits(family: Family, needs: dict[bool, Needs], choices: dict[str, Any], message: str) -> None:
    unit = family.pixels_per_latent
    with pytest.raises(BadInput, match=message):
        plan_memory(family, (4, 64 // unit, 64 // unit), 8, available=119, **choices)


def test_encoding_must_fit_too(family: Family, needs: dict[bool, Needs]) -> None:
    needs[False] = needs[True] = Needs(encoding=200, held=100, example=20)
    assert plan_memory(family, SHAPE, 2, available=200).peak == 200
    with pytest.raises(BadInput, match="choose a smaller resolution"):
        plan_memory(family, SHAPE, 2, available=199)
