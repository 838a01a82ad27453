"""Miniatures of every kind of model, with random weights: 32-pixel pictures, 8 x 8 latents, words 32 or 40 wide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

WORDS = ("photo", "of", "cat", "dog", "the", "in", "on", "red", "snow", "beach", "my", "picture", "good", "cropped")
WIDTHS = {"clip_l": 32, "clip_h": 32, "clip_g": 40}
POOLED = 24


@dataclass(frozen=True)
class TinyModel:
    """What tells one kind of model from another."""

    pipeline: str  # a key of FAMILIES
    slots: tuple[str, ...]
    prediction_type: str = "epsilon"
    zero_terminal_snr: bool = False
    build: Callable[[TinyModel], Any] | None = None  # the pipeline; None: `build_unet_pipeline`
    sampler: str = "DDIMScheduler"  # with which previews are drawn
    prompts: tuple[str, ...] = ("prompt",)  # arguments of `encode_prompt` that have no default
    chunks: bool = True  # whether the denoiser takes captions of several windows


TINY_MODELS = {
    "sd1": TinyModel("StableDiffusionPipeline", ("clip_l",)),
    "sd2-eps": TinyModel("StableDiffusionPipeline", ("clip_h",)),
    "sd2-v": TinyModel("StableDiffusionPipeline", ("clip_h",), "v_prediction"),
    "sdxl-eps": TinyModel("StableDiffusionXLPipeline", ("clip_l", "clip_g")),
    "sdxl-v-zero-snr": TinyModel("StableDiffusionXLPipeline", ("clip_l", "clip_g"), "v_prediction", True),
}


def build_tokenizer(pad: str = "<|endoftext|>") -> Any:
    """CLIP's kind of byte-level BPE, with WORDS as single tokens."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    alphabet = sorted(ByteLevel.alphabet())
    merges = []
    for word in WORDS:
        left, *rest = (*word[:-1], word[-1] + "</w>")
        for right in rest:
            if (left, right) not in merges:
                merges.append((left, right))
            left += right
    entries = [*alphabet, *(letter + "</w>" for letter in alphabet), *(left + right for left, right in merges)]
    vocabulary = {entry: number for number, entry in enumerate([*entries, "<|startoftext|>", "<|endoftext|>"])}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77, pad_token=pad)
    assert all(len(tokenizer(word, add_special_tokens=False).input_ids) == 1 for word in WORDS)
    return tokenizer


def build_encoder(slot: str, tokenizer: Any, projects: bool = False) -> Any:
    """OpenAI's CLIP has quick_gelu; OpenCLIP has gelu, and SDXL's a projection."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTHS[slot],
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        hidden_act="quick_gelu" if slot == "clip_l" else "gelu",
        projection_dim=POOLED if slot == "clip_g" else WIDTHS[slot],
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=2,  # as in the published models, which is wrong: see families/slots.py
    )
    return (CLIPTextModelWithProjection if projects else CLIPTextModel)(config)


def build_unet(model: TinyModel) -> Any:
    from diffusers import UNet2DConditionModel

    added: dict[str, Any] = {}
    if len(model.slots) > 1:
        time_width = 8
        added = {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": time_width,
            "projection_class_embeddings_input_dim": POOLED + 6 * time_width,
        }
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=4,
        cross_attention_dim=sum(WIDTHS[slot] for slot in model.slots),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        **added,
    )
    with torch.no_grad():  # words of a random model hardly count otherwise
        for name, parameter in unet.named_parameters():
            if ".attn2." in name:
                parameter.mul_(3)
    return unet


def build_vae(**settings: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        sample_size=32,
        block_out_channels=(8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=8,
        **settings,
    )


def build_pipeline(kind: str) -> Any:
    """The diffusers pipeline of a key of TINY_MODELS."""
    torch.manual_seed(0)
    model = TINY_MODELS[kind]
    return (model.build or build_unet_pipeline)(model)


def build_unet_pipeline(model: TinyModel) -> Any:
    import diffusers

    parts: dict[str, Any] = {}
    for suffix, slot in zip(("", "_2"), model.slots, strict=False):
        # as published: ViT-L pads with the end of text, the OpenCLIP encoders with "!"
        tokenizer = build_tokenizer() if slot == "clip_l" else build_tokenizer(pad="!")
        encoder = build_encoder(slot, tokenizer, projects=slot == "clip_g")
        parts |= {f"tokenizer{suffix}": tokenizer, f"text_encoder{suffix}": encoder}
    parts["unet"] = build_unet(model)
    parts["vae"] = build_vae(scaling_factor=0.5)
    parts["scheduler"] = diffusers.DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=model.prediction_type,
        rescale_betas_zero_snr=model.zero_terminal_snr,
        timestep_spacing="trailing" if model.zero_terminal_snr else "leading",
    )
    if len(model.slots) == 1:
        parts |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return getattr(diffusers, model.pipeline)(**parts)


def build_folder(kind: str, folder: Path) -> Path:
    build_pipeline(kind).save_pretrained(folder)
    return folder
