"""The tables of families and of what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ti_trainer
from ti_trainer import BadInput, ModelConfig
from ti_trainer.families.table import FAMILIES, REFUSED, checkpoint_layouts, family_of, known_kinds
from ti_trainer.files.model_places import PIPELINES


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


def test_folders_with_them_are_found_on_a_machine() -> None:
    assert all(name.startswith(PIPELINES) for name in FAMILIES)


def test_nobody_else_knows_them() -> None:
    """No file outside families/ names a pipeline or a transformer of one, or asks whether a model is of one family."""
    own = "|".join(name for name in FAMILIES if not name.startswith("StableDiffusionP"))
    for path in Path(ti_trainer.__file__).parent.rglob("*.py"):
        if path.parent.name in ("families", "lean"):
            continue
        source = path.read_text(encoding="utf-8")
        assert not re.search(rf"({own})\b(?!\")|Transformer2DModel|T5Encoder|Qwen3(Model|For)", source), path
        assert not re.search(r"\.unet\b|isinstance\(.*(famil|Diffusion)", source), path


def test_each_kind_of_encoder_is_known_once() -> None:
    names = [kind.name for kind in known_kinds()]
    assert len(set(names)) == len(names)
    assert {"clip_l", "clip_h", "clip_g"} <= set(names)
