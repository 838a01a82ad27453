"""What only SDXL has: a pooled vector, micro-conditioning, and two encoders of different widths."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.drawing import draw_batch
from tests.families.full_size import clip_g, clip_l
from tests.tiny_parts import build_tokenizer
from ti_trainer import ModelConfig
from ti_trainer.data.images import Picture
from ti_trainer.families import FAMILIES, Family, load_family
from ti_trainer.training.prepare import load_model, prepare

TOKEN = "<my-cat>"
PROMPT = f"a photo of a {TOKEN} in the snow"


@pytest.fixture
def sdxl(tiny_models: dict[str, Path]) -> Path:
    return tiny_models["sdxl-eps"]


def load(model: Path) -> Family:
    return load_family(ModelConfig(model=str(model)), torch.device("cpu"), torch.float32)


def vectors(family: Family, count: int) -> dict[str, Tensor]:
    draws = torch.Generator().manual_seed(count)
    return {slot.name: torch.randn(count, slot.width, generator=draws) * slot.table.std() for slot in family.slots}


def spliced(encoder: Any, tokenizer: Any, rows: Tensor) -> Tensor:
    """The pooled vector of PROMPT as WebUIs compute it: known words stand in for the token, and the embeddings at their
    places are overwritten. No id lies above the end of text, so that `eos_token_id: 2` is right there."""
    assert encoder.config.eos_token_id == 2
    ids = tokenizer(
        PROMPT.replace(TOKEN, " ".join(["dog"] * len(rows))), padding="max_length", return_tensors="pt"
    ).input_ids
    places = (ids == tokenizer.convert_tokens_to_ids("dog</w>")).nonzero()[:, 1]
    assert len(places) == len(rows)

    def overwrite(module: Any, arguments: Any, output: Tensor) -> Tensor:
        output = output.clone()
        output[:, places] = rows
        return output

    hook = encoder.get_input_embeddings().register_forward_hook(overwrite)
    try:
        with torch.no_grad():
            return encoder(ids).text_embeds[0]
    finally:
        hook.remove()


@pytest.mark.parametrize("count", [1, 3])
def test_pooled_vector_is_that_of_spliced_embeddings(sdxl: Path, reference_pipeline: Any, count: int) -> None:
    """And not that of diffusers' plain loading, which pools at the placeholder."""
    family, plain = load(sdxl), reference_pipeline(sdxl)
    rows = vectors(family, count)
    wanted = spliced(plain.text_encoder_2, plain.tokenizer_2, rows["clip_g"])
    for suffix, slot in (("", "clip_l"), ("_2", "clip_g")):
        parts = {
            "tokenizer": getattr(plain, f"tokenizer{suffix}"),
            "text_encoder": getattr(plain, f"text_encoder{suffix}"),
        }
        plain.load_textual_inversion({TOKEN: rows[slot]}, token=TOKEN, **parts)
    with torch.no_grad():
        _, _, naive, _ = plain.encode_prompt(PROMPT, device="cpu", do_classifier_free_guidance=False)
    family.placeholders.add(TOKEN, rows)
    ours = family.encode_text([PROMPT]).pooled
    assert ours is not None
    torch.testing.assert_close(ours[0], wanted, rtol=1e-5, atol=1e-6)
    error = (naive[0] - wanted).norm() / wanted.norm()
    print(
        f"pooled at the placeholder: off by {error:.0%} of the vector's length; ours by {(ours[0] - wanted).norm():.1e}"
    )
    assert error > 0.2


def test_sizes_are_those_of_the_pipeline(sdxl: Path, reference_pipeline: Any, make_config: Any, pictures: Path) -> None:
    """Original size, crop and target of each example, from picture to U-Net: 48 x 40 pictures shown at 32 x 32."""
    config = make_config(model=str(sdxl))
    session = prepare(config, partial(load_model, config, torch.device("cpu"), torch.float32))
    batch = draw_batch(session.data, 0, 0, range(2), 2)
    assert Picture.at(pictures / "0.png").read()  # 48 wide, 40 high: scaled to 38.4 x 32, cut 3.2 at each side
    assert batch.sizes.tolist() == [[40, 48, 0, 3, 32, 32]] * 2
    pipeline = reference_pipeline(sdxl)
    wanted = pipeline._get_add_time_ids((40, 48), (0, 3), (32, 32), torch.float32, 24)
    text = session.family.encode_text(batch.captions)
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = session.family.predict(latents, torch.tensor([5, 600]), text, batch.sizes)
        expected, other = (
            pipeline.unet(
                latents,
                torch.tensor([5, 600]),
                text.context,
                added_cond_kwargs={"text_embeds": text.pooled, "time_ids": ids.repeat(2, 1)},
            ).sample
            for ids in (wanted, wanted * 2)
        )
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert (found - other).abs().max() > 1e-4


def full_size_pipeline() -> Any:
    """SDXL 1.0 base as published, without weights."""
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(
            sample_size=128,
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=[1, 2, 10],
            attention_head_dim=[5, 10, 20],
            cross_attention_dim=2048,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        )
        vae = AutoencoderKL(
            sample_size=1024,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            scaling_factor=0.13025,
        )
        encoders = clip_l(), clip_g()
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
    )
    tokenizers = build_tokenizer(), build_tokenizer(pad="!")
    return StableDiffusionXLPipeline(vae, *encoders, *tokenizers, unet, scheduler)


def test_full_size_without_weights() -> None:
    """Every width and shape of the published model: 2.57 B U-Net, 123 M and 695 M text encoders, 84 M VAE."""
    meta = torch.device("meta")
    pipeline = full_size_pipeline()
    family = FAMILIES["StableDiffusionXLPipeline"](pipeline, ModelConfig(), meta, torch.float16, lambda: pipeline.vae)
    sizes = [
        sum(p.numel() for p in part.parameters())
        for part in (pipeline.unet, *[s.encoder for s in family.slots], pipeline.vae)
    ]
    assert [round(size / 1e6, 1) for size in sizes] == [2567.5, 123.1, 694.7, 83.7]
    assert [(slot.name, slot.width) for slot in family.slots] == [("clip_l", 768), ("clip_g", 1280)]
    assert (family.spec.resolution, family.pixels_per_latent) == (1024, 8)
    assert 1 / family.deviation.item() == pytest.approx(0.13025)
    assert family.spec.architecture == "stable-diffusion-xl-v1-base"
    rows = {"clip_l": torch.zeros(4, 768), "clip_g": torch.zeros(4, 1280)}
    family.placeholders.add(TOKEN, rows)
    text = family.encode_text([PROMPT, PROMPT, "a cat"])
    assert text.context.shape == (3, 77, 2048)
    assert text.pooled is not None
    assert text.pooled.shape == (3, 1280)
    latents, numbers = torch.zeros(3, 4, 128, 128, device=meta), torch.zeros(3, 6, device=meta)
    for module in (pipeline.unet, *(slot.encoder for slot in family.slots)):
        module.to(torch.float16)
    text = family.encode_text([PROMPT, PROMPT, "a cat"])
    added = family.added(text, numbers)  # type: ignore[attr-defined]
    assert {name: (tuple(value.shape), value.dtype) for name, value in added.items()} == {
        "text_embeds": ((3, 1280), torch.float16),
        "time_ids": ((3, 6), torch.float16),
    }
    assert pipeline.unet.add_embedding.linear_1.in_features == 6 * 256 + 1280
    predicted = family.predict(latents, torch.zeros(3, dtype=torch.long, device=meta), text, numbers)
    assert (predicted.shape, predicted.dtype) == ((3, 4, 128, 128), torch.float32)
    pipeline.vae.to(torch.float32)
    posterior = family.encode_images(torch.zeros(1, 3, 1024, 1024, device=meta))
    assert posterior.mean.shape == posterior.std.shape == (1, 4, 128, 128)


@pytest.mark.parametrize("zeros", [True, False])
def test_empty_negative_prompts(sdxl: Path, reference_pipeline: Any, tmp_path: Path, zeros: bool) -> None:
    """Zeros as SDXL was trained, or an encoded "" where the config says so: what the real pipeline makes of them."""
    folder = Path(shutil.copytree(sdxl, tmp_path / "model"))
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "force_zeros_for_empty_prompt": zeros}))
    pipeline, family = reference_pipeline(folder), load(folder)
    rows = vectors(family, 2)
    family.placeholders.add(TOKEN, rows)
    found = family.prompt_arguments(["a red dog", "a cat"])
    with torch.no_grad():
        wanted = pipeline.encode_prompt(["a red dog", "a cat"], device="cpu", do_classifier_free_guidance=True)
    names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    assert set(found) == set(names)
    for name, tensor in zip(names, wanted, strict=True):
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-6)
    assert (found["negative_prompt_embeds"] == 0).all() == zeros
    assert (found["negative_pooled_prompt_embeds"] == 0).all() == zeros
    assert (found["prompt_embeds"][0] - found["prompt_embeds"][1]).abs().max() > 1e-2
    found = family.prompt_arguments(["a red dog"], negative="a cat")
    with torch.no_grad():
        wanted = pipeline.encode_prompt("a red dog", device="cpu", negative_prompt="a cat")
    for name, tensor in zip(names, wanted, strict=True):
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-6)
