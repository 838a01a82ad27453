"""Frozen weights of fewer bits: the gradient's direction, memory, and what is predicted of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.families.test_precision import gradients
from ti_trainer import BadInput, ModelConfig, TrainConfig
from ti_trainer.families import load_family
from ti_trainer.families.quantizing import linear_layers, quantize
from ti_trainer.training.memory.plan import predict_needs, size_of, tensors_of

CPU = torch.device("cpu")
KINDS = ["sd1", "sd3", "flux1", "chroma", "anima", "flux2-klein"]
bitsandbytes = pytest.importorskip("bitsandbytes")


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_go_through_them(
    kind: str, tiny_models: dict[str, Path], make_config: Callable[..., TrainConfig]
) -> None:
    """To the rows, in about the direction of those of the full weights, and to no weight."""
    config = make_config(model=str(tiny_models[kind]), init="a red cat")
    exact, found = gradients(config), gradients(replace(config, quantize="8bit"))
    coarse = gradients(replace(config, quantize="4bit"))
    assert set(exact) == set(found) == set(coarse)
    for slot, gradient in exact.items():
        assert F.cosine_similarity(found[slot].flatten(), gradient.flatten(), dim=0) > 0.95
        assert coarse[slot].isfinite().all()
        assert coarse[slot].norm() > 0


@pytest.mark.memory
@pytest.mark.parametrize("how", ["8bit", "4bit"])
def test_they_take_less_and_are_counted_so(tiny_models: dict[str, Path], how: str) -> None:
    plain, small = (
        load_family(ModelConfig(model=str(tiny_models["chroma"]), quantize=each), CPU, torch.float32)
        for each in (None, how)
    )
    sizes = [size_of(tensor for model in each.models for tensor in tensors_of(model)) for each in (plain, small)]
    assert sizes[1] < 0.75 * sizes[0]  # embeddings, norms and T5's float32 layers stay
    one, other = (predict_needs(each, (16, 8, 8), False, "a red cat") for each in (plain, small))
    assert other.example == one.example  # activations are as large as ever
    assert plain.fingerprint == small.fingerprint


def test_layers_that_a_model_keeps() -> None:
    class Model(nn.Module):
        _keep_in_fp32_modules = ("wo",)

        def __init__(self) -> None:
            super().__init__()
            self.wi, self.wo = nn.Linear(8, 8), nn.Linear(8, 8)

    model = Model().requires_grad_(False)
    quantize(model, "4bit", torch.float32)
    assert [name for _, name, _ in linear_layers(model)] == ["wo"]
    assert type(model.wi).__name__ == "Linear4bit"


def test_without_bitsandbytes(monkeypatch: pytest.MonkeyPatch, tiny_models: dict[str, Path]) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    how: Any = {"model": str(tiny_models["sd1"]), "quantize": "4bit"}
    with pytest.raises(BadInput, match=r"quantize=\"4bit\" needs bitsandbytes: pip install 'ti_trainer\[quant\]'"):
        load_family(ModelConfig(**how), CPU, torch.float32)
