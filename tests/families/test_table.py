"""The tables of families and of what is refused."""

from __future__ import annotations

import pytest

from ti_trainer import BadInput, ModelConfig
from ti_trainer.families.table import FAMILIES, REFUSED, checkpoint_layouts, family_of, known_kinds


def test_no_two_layouts_fit_one_file() -> None:
    """None starts with another, so that their order does not matter."""
    starts = list(checkpoint_layouts())
    assert all(one is other or not one.startswith(other) for one in starts for other in starts)
    assert set(checkpoint_layouts().values()) <= FAMILIES.keys() | REFUSED.keys()
    assert {"cond_stage_model.", "conditioner.embedders.1.", "conditioner.embedders.0.model."} <= set(starts)


def test_nothing_is_both_known_and_refused() -> None:
    assert not FAMILIES.keys() & REFUSED.keys()


def test_pipelines_without_a_family() -> None:
    assert family_of("StableDiffusionPipeline", ModelConfig()) is FAMILIES["StableDiffusionPipeline"]
    with pytest.raises(BadInput, match=r"model=\"x\" is a WuerstchenPipeline, .* known are StableDiffusionPipeline"):
        family_of("WuerstchenPipeline", ModelConfig(model="x"))
    for name, reason in REFUSED.items():
        with pytest.raises(BadInput) as caught:
            family_of(name, ModelConfig(model="x"))
        assert str(caught.value) == f'model="x" is {reason}'


def test_each_kind_of_encoder_is_known_once() -> None:
    names = [kind.name for kind in known_kinds()]
    assert len(set(names)) == len(names)
    assert {"clip_l", "clip_h", "clip_g"} <= set(names)
