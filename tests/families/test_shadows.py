"""Models on the `meta` device are the same in all but their numbers, and share nothing with the real ones."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.families.inputs import load
from ti_trainer.families.shadows import shadow, shadow_encoder
from ti_trainer.method.placeholders import Placeholders

META = torch.device("meta")


def digest(module: nn.Module) -> str:
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in module.state_dict().values())).hexdigest()


def test_same_shapes_and_classes(any_model: Path) -> None:
    family: Any = load(any_model)
    for module in (family.denoiser, family.bring_vae()):
        before = digest(module)
        twin = shadow(module)
        for (name, real), (other, found) in zip(module.named_parameters(), twin.named_parameters(), strict=True):
            assert name == other
            assert (found.shape, found.dtype, found.requires_grad) == (real.shape, real.dtype, real.requires_grad)
            assert found.stride() == real.stride()
            assert found.device == META
        assert [type(part) for part in twin.modules()] == [type(part) for part in module.modules()]
        assert not {id(part) for part in twin.modules()} & {id(part) for part in module.modules()}
        assert all(buffer.is_meta for buffer in twin.buffers())
        assert digest(module) == before


def test_weights_that_are_shared_stay_shared() -> None:
    module = nn.ModuleDict({"one": nn.Linear(3, 3), "other": nn.Linear(3, 3)})
    module["other"].weight = module["one"].weight
    twin = shadow(module)
    assert twin["other"].weight is twin["one"].weight
    assert len(list(twin.parameters())) == 3


def test_an_encoders_shadow_knows_other_placeholders(any_model: Path) -> None:
    """Rows of the real one's are unknown to it, and its own are not the real one's."""
    family: Any = load(any_model)
    for slot in family.slots:
        placeholders = Placeholders(META)
        twin = shadow_encoder(slot.encoder, slot.name, placeholders)
        rows = placeholders.add("<a>", {slot.name: torch.zeros(2, slot.width)})[slot.name]
        embedding = twin.get_input_embeddings()
        assert embedding.first == len(slot.table)
        output = embedding(torch.tensor([[5, embedding.first, embedding.first + 1]], device=META))
        assert output.shape == (1, 3, slot.width)
        (gradient,) = torch.autograd.grad(output.sum(), [rows])
        assert gradient.shape == (2, slot.width)
        assert slot.encoder.get_input_embeddings()._borrowed == (family.placeholders,)
        assert not family.placeholders.present


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_familys_shadow_predicts_shapes(any_model: Path, checkpointing: bool) -> None:
    family: Any = load(any_model)
    family.checkpoint_activations()
    twin = family.shadow(checkpointing)
    assert twin.denoiser.is_gradient_checkpointing is checkpointing
    assert family.denoiser.is_gradient_checkpointing
    pixels = torch.empty(2, 3, 32, 48, device=META)
    posterior = twin.encode_images(pixels)
    latents = twin.to_latents(posterior.mean)
    assert latents.shape == (2, family.latent_channels, 8, 12)
    text = twin.encode_text(["a cat", "a dog"])
    assert text.context.shape == family.encode_text(["a cat", "a dog"]).context.shape
    found = twin.predict(latents, torch.zeros(2, dtype=torch.long, device=META), text, torch.empty(2, 6, device=META))
    assert (found.shape, found.dtype, found.device) == (latents.shape, torch.float32, META)
