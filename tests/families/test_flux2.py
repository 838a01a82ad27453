"""Flux.2 Klein: its chat, its layers and its places, against the pipeline; the sizes of the published models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import Flux2KleinPipeline

from tests.families.full_size import millions
from tests.tiny_parts import build_qwen_tokenizer
from ti_trainer import BadInput, ModelConfig
from ti_trainer.families import FAMILIES, load_family
from ti_trainer.families.flux2 import places
from ti_trainer.families.slots import text_slots

CPU, META = torch.device("cpu"), torch.device("meta")


def test_places_are_the_pipelines() -> None:
    context, latents = torch.zeros(1, 7, 3), torch.zeros(1, 4, 3, 5)
    assert torch.equal(places(1, 1, 7, CPU), Flux2KleinPipeline._prepare_text_ids(context)[0])
    assert torch.equal(places(3, 5, 1, CPU), Flux2KleinPipeline._prepare_latent_ids(latents)[0])


def test_a_distilled_model_is_refused(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_models["flux2-klein"], tmp_path / "model"))
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "is_distilled": True}))
    with pytest.raises(BadInput, match=r"is distilled to draw in four steps.*: train on the base model"):
        load_family(ModelConfig(model=str(folder)), CPU, torch.float32)


def test_the_text_is_a_chat_with_an_empty_thought(tiny_models: dict[str, Path]) -> None:
    family: Any = load_family(ModelConfig(model=str(tiny_models["flux2-klein"])), CPU, torch.float32)
    family.placeholders.add("<my-cat>", {"qwen3_4b": torch.zeros(2, 16)})
    (slot,) = family.slots
    (ids,) = family.windows(slot, [family.placeholders.expand("a <my-cat> on the beach")])
    first = slot.encoder.get_input_embeddings().first
    words = [
        f"row {number - first}" if number >= first else slot.tokenizer.decode(number) for number in ids[0].tolist()
    ]
    assert words[:16] == [
        *("<|im_start|>", "user", "\n", "a", " ", "row 0", "row 1", "on", " the", " beach", "<|im_end|>", " "),
        *("<|im_start|>", "assistant", " ", "<think>"),  # behind rows ComfyUI makes each line break a space
    ]
    assert words[16:] == [" ", "</think>"] + ["<|endoftext|>"] * (512 - 18)


# width, layers, feed forward and heads of Qwen 3, of the transformer its blocks and heads; parameters in millions
PUBLISHED = {
    "4b": ((2560, 36, 9728, 32), (5, 20, 24), (4022.5, 3875.5)),
    "9b": ((4096, 36, 12288, 32), (8, 24, 32), (8190.7, 9078.6)),
}


@pytest.mark.parametrize("size", PUBLISHED)
def test_full_size_without_weights(size: str) -> None:
    from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Flux2Transformer2DModel
    from transformers import Qwen3Config, Qwen3ForCausalLM

    (width, layers, inner, heads), (double, single, transformer_heads), parameters = PUBLISHED[size]
    qwen = Qwen3Config(
        vocab_size=151_936,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=size == "4b",
    )
    with META:
        transformer = Flux2Transformer2DModel(
            num_layers=double,
            num_single_layers=single,
            num_attention_heads=transformer_heads,
            joint_attention_dim=3 * width,
            guidance_embeds=False,
        )
        pipeline = Flux2KleinPipeline(
            FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
            AutoencoderKLFlux2(down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4),
            Qwen3ForCausalLM(qwen),
            build_qwen_tokenizer(),
            transformer,
        )
    assert (millions(pipeline.text_encoder), millions(transformer)) == parameters
    family: Any = FAMILIES["Flux2KleinPipeline"](pipeline, ModelConfig(), META, torch.float32, lambda: pipeline.vae)
    assert len(pipeline.text_encoder.model.layers) == 28  # of 36: what is behind the 27th is never read
    assert [(slot.name, slot.width) for slot in family.slots] == [(f"qwen3_{size.replace('9', '8')}", width)]
    assert [slot.name for slot in text_slots(pipeline, family.kinds)] == [family.slots[0].name]
    assert family.spec.architecture == f"flux-2-klein-{size}"
    assert (family.spec.resolution, family.pixels_per_latent, family.spec.bucket_step) == (1024, 8, 16)
    family.placeholders.add("<my-cat>", {family.slots[0].name: torch.zeros(4, width, device=META)})
    text = family.encode_text(["a <my-cat>"])
    assert text.context.shape == (1, 512, 3 * width)
    latents = torch.zeros(1, 32, 128, 128, device=META)
    assert family.predict(latents, torch.zeros(1, device=META), text, torch.zeros(1, 6)).shape == latents.shape
    assert family.encode_images(torch.zeros(1, 3, 1024, 1024, device=META)).mean.shape == (1, 32, 128, 128)
