"""Anima: what its T5 is told of rows, its modular pipeline, and the sizes of the published model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.families.full_size import millions
from tests.tiny_parts import build_qwen_tokenizer, build_t5_tokenizer
from ti_trainer import BadInput, ModelConfig
from ti_trainer.families import FAMILIES, load_family
from ti_trainer.families.anima import let_cosmos_resize

CPU, META = torch.device("cpu"), torch.device("meta")


def load(model: Path) -> Any:
    return load_family(ModelConfig(model=str(model)), CPU, torch.float32)


def test_padding_stands_for_rows_before_the_conditioner(tiny_models: dict[str, Path]) -> None:
    """As many as there are rows, attended to like words; and the rows are in Qwen's ids."""
    family = load(tiny_models["anima"])
    family.placeholders.add("<my-cat>", {"qwen3_06b": torch.randn(3, 32)})
    seen: dict[str, Any] = {}
    conditioner = family.further["text_conditioner"]
    conditioner.register_forward_pre_hook(lambda module, given, named: seen.update(named), with_kwargs=True)
    family.encode_text(["a photo of <my-cat> in the snow", "a dog"])
    tokenizer = build_t5_tokenizer()
    before, behind = (tokenizer(text, add_special_tokens=False).input_ids for text in ("a photo of", "in the snow"))
    ids = seen["target_input_ids"][0].tolist()
    assert ids == [*before, 0, 0, 0, *behind, 1]
    assert seen["target_attention_mask"].tolist() == [[1] * len(ids), [1] * 3 + [0] * (len(ids) - 3)]
    assert seen["source_attention_mask"].sum(1).tolist() == [4 + 3 + 3, 2]  # with the space before the first row
    assert not seen["source_hidden_states"][1, 2:].any()


def test_pictures_are_drawn_step_by_step(tiny_models: dict[str, Path]) -> None:
    family, steps = load(tiny_models["anima"]), []
    noise = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    (image,) = family.draw(["a dog"], noise, 3, 4.0, after_step=lambda: steps.append(1))
    assert image.size == (32, 32)
    assert len(steps) == 3
    (other,) = family.draw(["a dog"], noise, 3, 1.0)
    assert image.tobytes() != other.tobytes()


def test_a_mask_is_resized_without_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers.models.transformers import transformer_cosmos

    monkeypatch.delattr(transformer_cosmos, "transforms", raising=False)
    let_cosmos_resize()
    transforms = transformer_cosmos.transforms
    mask = torch.arange(16.0).view(1, 1, 4, 4)
    found = transforms.functional.resize(mask, [2, 2], interpolation=transforms.InterpolationMode.NEAREST)
    assert found.flatten().tolist() == [0, 2, 8, 10]


def test_a_part_that_is_missing(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    """diffusers would only warn of it."""
    import shutil

    folder = Path(shutil.copytree(tiny_models["anima"], tmp_path / "model"))
    (folder / "text_conditioner" / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    with pytest.raises(BadInput, match="cannot be loaded: its text_conditioner cannot be loaded"):
        load(folder)
    shutil.rmtree(folder / "text_conditioner")
    with pytest.raises(BadInput, match="is not complete: its text_conditioner is missing"):
        load(folder)


def test_the_parts_are_those_of_the_folder(
    tiny_models: dict[str, Path], reference_pipeline: Callable[[Path], Any], tmp_path: Path
) -> None:
    """And not of the place that its index names: a copy of a folder, or of a hub model, is loaded by itself."""
    import shutil

    folder = Path(shutil.copytree(tiny_models["anima"], tmp_path / "model"))
    index = folder / "modular_model_index.json"
    index.write_text(index.read_text().replace(str(tiny_models["anima"]), "nobody/nothing"))
    assert load(folder).fingerprint == load(tiny_models["anima"]).fingerprint


def test_full_size_without_weights() -> None:
    """2.0 B transformer, 0.6 B Qwen 3 and a conditioner."""
    from diffusers import (
        AnimaAutoBlocks,
        AnimaTextConditioner,
        AutoencoderKLQwenImage,
        CosmosTransformer3DModel,
        FlowMatchEulerDiscreteScheduler,
    )
    from transformers import Qwen3Config, Qwen3Model

    qwen = Qwen3Config(
        vocab_size=151_936,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
    )
    pipeline = AnimaAutoBlocks().init_pipeline()
    with META:
        transformer = CosmosTransformer3DModel(num_attention_heads=16, extra_pos_embed_type=None)
        pipeline.update_components(
            text_encoder=Qwen3Model(qwen),
            tokenizer=build_qwen_tokenizer(),
            t5_tokenizer=build_t5_tokenizer(),
            vae=AutoencoderKLQwenImage(),
            text_conditioner=AnimaTextConditioner(),
            transformer=transformer,
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        )
    family: Any = FAMILIES["AnimaModularPipeline"](pipeline, ModelConfig(), META, torch.float32, lambda: pipeline.vae)
    parts = (transformer, family.slots[0].encoder, family.further["text_conditioner"])
    assert [millions(part) for part in parts] == [1956.4, 596.0, 134.7]
    assert (family.slots[0].name, family.slots[0].width) == ("qwen3_06b", 1024)
    assert (family.spec.resolution, family.pixels_per_latent, family.spec.bucket_step) == (1024, 8, 16)
    family.placeholders.add("<my-cat>", {"qwen3_06b": torch.zeros(4, 1024, device=META)})
    text = family.encode_text(["a <my-cat>", "a dog"])
    assert text.context.shape == (2, 512, 1024)
    latents = torch.zeros(2, 16, 128, 128, device=META)
    assert family.predict(latents, torch.zeros(2, device=META), text, torch.zeros(2, 6)).shape == latents.shape
    assert family.encode_images(torch.zeros(1, 3, 1024, 1024, device=META)).mean.shape == (1, 16, 128, 128)
