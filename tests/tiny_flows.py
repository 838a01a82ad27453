"""Miniatures of the models with a transformer for a flow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from torch import Tensor

from tests.tiny_parts import (
    POOLED,
    WIDTHS,
    build_encoder,
    build_qwen,
    build_qwen_tokenizer,
    build_t5,
    build_t5_tokenizer,
    build_tokenizer,
    build_vae,
)


def louder(transformer: Any, *parts: str) -> Any:
    """The same with larger weights in what reads text: words of a random model hardly count otherwise."""
    with torch.no_grad():
        for name, parameter in transformer.named_parameters():
            if any(part in name for part in parts):
                parameter.mul_(3)
    return transformer


def build_sd3(t5: bool = True) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    tokenizers = {"": build_tokenizer(), "_2": build_tokenizer(pad="!"), "_3": build_t5_tokenizer()}
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=WIDTHS["t5xxl"],
        pooled_projection_dim=WIDTHS["clip_l"] + POOLED,
        pos_embed_max_size=24,
        **({} if t5 else {"qk_norm": "rms_norm", "dual_attention_layers": (0,)}),  # 3.5 medium's
    )
    return StableDiffusion3Pipeline(
        transformer=louder(transformer, "context_embedder", "attn.add"),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=build_vae(latent_channels=16, scaling_factor=1.5, shift_factor=0.06, use_quant_conv=False),
        text_encoder=build_encoder("clip_l", tokenizers[""], projects=True),
        text_encoder_2=build_encoder("clip_g", tokenizers["_2"], projects=True),
        text_encoder_3=build_t5(tokenizers["_3"]) if t5 else None,
        tokenizer=tokenizers[""],
        tokenizer_2=tokenizers["_2"],
        tokenizer_3=tokenizers["_3"] if t5 else None,
    )


def encode_sd3(pipeline: Any, prompt: str, clip_skip: int) -> tuple[Tensor, Tensor]:
    context, _, pooled, _ = pipeline.encode_prompt(
        prompt, None, None, do_classifier_free_guidance=False, clip_skip=clip_skip or None
    )
    return context[0], pooled[0]


FLUX_PARTS = {"in_channels": 64, "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 8}


def build_flux() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    tokenizers = build_tokenizer(), build_t5_tokenizer()
    transformer = FluxTransformer2DModel(
        **FLUX_PARTS,
        num_attention_heads=4,
        joint_attention_dim=WIDTHS["t5xxl"],
        pooled_projection_dim=WIDTHS["clip_l"],
        guidance_embeds=True,
        axes_dims_rope=(2, 2, 4),
    )
    return FluxPipeline(
        transformer=louder(transformer, "context_embedder", "attn.add", "text_embedder"),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=build_vae(latent_channels=16, scaling_factor=1.5, shift_factor=0.06, use_quant_conv=False),
        text_encoder=build_encoder("clip_l", tokenizers[0]),
        text_encoder_2=build_t5(tokenizers[1]),
        tokenizer=tokenizers[0],
        tokenizer_2=tokenizers[1],
    )


def encode_flux(pipeline: Any, prompt: str, clip_skip: int) -> tuple[Tensor, Tensor]:
    context, pooled, _ = pipeline.encode_prompt(prompt)
    return context[0], pooled[0]


def build_chroma() -> Any:
    from diffusers import ChromaPipeline, ChromaTransformer2DModel, FlowMatchEulerDiscreteScheduler

    tokenizer = build_t5_tokenizer()
    transformer = ChromaTransformer2DModel(
        **FLUX_PARTS,
        num_attention_heads=4,
        joint_attention_dim=WIDTHS["t5xxl"],
        axes_dims_rope=(2, 2, 4),
        approximator_num_channels=8,
        approximator_hidden_dim=16,
        approximator_layers=1,
    )
    return ChromaPipeline(
        transformer=louder(transformer, "context_embedder", "attn.add"),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=build_vae(latent_channels=16, scaling_factor=1.5, shift_factor=0.06, use_quant_conv=False),
        text_encoder=build_t5(tokenizer),
        tokenizer=tokenizer,
    )


def encode_chroma(pipeline: Any, prompt: str, clip_skip: int) -> tuple[Tensor, None]:
    context, *_ = pipeline.encode_prompt(prompt, do_classifier_free_guidance=False)
    return context[0], None


def mend_chroma(pipeline: Any) -> None:
    """diffusers 0.42 adds the mask, as ones and zeros, to the scores of attention instead of leaving tokens out."""
    encode = pipeline.encode_prompt

    def with_masks(*arguments: Any, **how: Any) -> Any:
        context, ids, mask, negative, negative_ids, negative_mask = encode(*arguments, **how)
        unwanted = None if negative_mask is None else negative_mask.bool()
        return context, ids, mask.bool(), negative, negative_ids, unwanted

    pipeline.encode_prompt = with_masks


def build_klein() -> Any:
    from diffusers import (
        AutoencoderKLFlux2,
        FlowMatchEulerDiscreteScheduler,
        Flux2KleinPipeline,
        Flux2Transformer2DModel,
    )

    tokenizer = build_qwen_tokenizer()
    transformer = Flux2Transformer2DModel(
        **FLUX_PARTS,
        num_attention_heads=4,
        joint_attention_dim=3 * WIDTHS["qwen3_4b"],
        timestep_guidance_channels=16,
        axes_dims_rope=(2, 2, 2, 2),
        guidance_embeds=False,
    )
    vae = AutoencoderKLFlux2(
        sample_size=32,
        block_out_channels=(8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=16,
    )
    with torch.no_grad():
        vae.bn.running_mean.normal_()
        vae.bn.running_var.uniform_(0.5, 2)
    return Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=vae,
        text_encoder=build_qwen("qwen3_4b", tokenizer, layers=28, causal=True),
        tokenizer=tokenizer,
        transformer=louder(transformer, "context_embedder", "attn.add"),
    )


def denorm_klein(vae: Any, latents: Tensor) -> Tensor:
    """As the pipeline does at its end."""
    from diffusers import Flux2KleinPipeline

    patches = Flux2KleinPipeline._patchify_latents(latents)
    deviation = torch.sqrt(vae.bn.running_var.view(1, -1, 1, 1) + vae.config.batch_norm_eps)
    return Flux2KleinPipeline._unpatchify_latents(patches * deviation + vae.bn.running_mean.view(1, -1, 1, 1))


def encode_klein(pipeline: Any, prompt: str, clip_skip: int) -> tuple[Tensor, None]:
    context, _ = pipeline.encode_prompt(prompt)
    return context[0], None


def build_anima() -> Any:
    from diffusers import (
        AnimaAutoBlocks,
        AnimaTextConditioner,
        AutoencoderKLQwenImage,
        CosmosTransformer3DModel,
        FlowMatchEulerDiscreteScheduler,
    )

    tokenizer, t5_tokenizer = build_qwen_tokenizer(), build_t5_tokenizer()
    width = WIDTHS["qwen3_06b"]
    transformer = CosmosTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=2,
        text_embed_dim=width,
        adaln_lora_dim=4,
        max_size=(4, 256, 256),
        extra_pos_embed_type=None,
    )
    conditioner = AnimaTextConditioner(
        source_dim=width,
        target_dim=width,
        model_dim=width,
        num_layers=2,
        num_attention_heads=4,
        target_vocab_size=len(t5_tokenizer) + 28,  # as many in stock as the published one
        min_sequence_length=512,
    )
    pipeline = AnimaAutoBlocks().init_pipeline()
    pipeline.update_components(
        text_encoder=build_qwen("qwen3_06b", tokenizer, layers=2),
        tokenizer=tokenizer,
        t5_tokenizer=t5_tokenizer,
        vae=AutoencoderKLQwenImage(base_dim=8, dim_mult=[1, 2, 2], num_res_blocks=1, temperal_downsample=[False, True]),
        text_conditioner=louder(conditioner, "cross_attn"),
        transformer=louder(transformer, "attn2"),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )
    return pipeline


def load_anima(folder: Path) -> Any:
    from diffusers import ModularPipeline

    pipeline = ModularPipeline.from_pretrained(str(folder))
    pipeline.load_components(pretrained_model_name_or_path=str(folder))
    return pipeline


def encode_anima(pipeline: Any, prompt: str, clip_skip: int) -> tuple[Tensor, None]:
    from diffusers.modular_pipelines.anima.before_denoise import AnimaTextConditioningStep
    from diffusers.modular_pipelines.anima.encoders import AnimaTextEncoderStep

    read = AnimaTextEncoderStep.encode_prompt(pipeline, prompt, prepare_unconditional_embeds=False)
    known = {name: value for name, value in read.items() if value is not None}
    how = {"device": torch.device("cpu"), "conditioning_dtype": torch.float32, "output_dtype": torch.float32}
    return AnimaTextConditioningStep._condition_prompt_embeds(pipeline, **known, **how)[0], None


def draw_anima(pipeline: Any, texts: list[str], latents: Tensor, steps: int, guidance: float) -> Any:
    from diffusers import ClassifierFreeGuidance

    pipeline.update_components(guider=ClassifierFreeGuidance(guidance_scale=guidance))
    return pipeline(
        prompt=texts,
        latents=latents,
        num_inference_steps=steps,
        height=32,
        width=32,
        output_type="np",
        output="images",
    )


def denoise_anima(pipeline: Any, text: Mapping[str, Tensor], latents: Tensor, steps: int) -> None:
    """The blocks of the pipeline from its latents on."""
    from diffusers import ClassifierFreeGuidance
    from diffusers.modular_pipelines import SequentialPipelineBlocks
    from diffusers.modular_pipelines.anima.modular_blocks_anima import AnimaCoreDenoiseStep

    blocks = AnimaCoreDenoiseStep().sub_blocks
    loop = SequentialPipelineBlocks.from_blocks_dict(
        {name: blocks[name] for name in ("input", "prepare_latents", "set_timesteps", "denoise")}
    ).init_pipeline()
    guider = ClassifierFreeGuidance(guidance_scale=1.0)
    loop.update_components(
        transformer=pipeline.transformer, scheduler=pipeline.scheduler, vae=pipeline.vae, guider=guider
    )
    loop(**text, latents=latents, num_inference_steps=steps, height=32, width=32)


def denorm_anima(vae: Any, latents: Tensor) -> Tensor:
    """As the pipeline's AnimaVaeDecoderStep."""
    mean, deviation = (
        torch.tensor(each).view(1, -1, 1, 1, 1) for each in (vae.config.latents_mean, vae.config.latents_std)
    )
    return latents[:, :, None] * deviation + mean


def unpack(patches: Tensor) -> Tensor:
    """Patches of a square of latents, (B, h w / 4, 4 c) -> (B, c, h, w), one by one."""
    side = round(patches.shape[1] ** 0.5)
    latents = patches.new_empty(len(patches), patches.shape[2] // 4, 2 * side, 2 * side)
    for number in range(side * side):
        row, column = 2 * (number // side), 2 * (number % side)
        latents[:, :, row : row + 2, column : column + 2] = patches[:, number].view(len(patches), -1, 2, 2)
    return latents


# what tells the rows of TINY_MODELS apart
ROWS: dict[str, dict[str, Any]] = {
    "sd3": {
        "pipeline": "StableDiffusion3Pipeline",
        "slots": ("clip_l", "clip_g", "t5xxl"),
        "build": build_sd3,
        "encode": encode_sd3,
    },
    "sd35-without-t5": {
        "pipeline": "StableDiffusion3Pipeline",
        "slots": ("clip_l", "clip_g"),
        "build": lambda: build_sd3(t5=False),
        "encode": encode_sd3,
    },
    "flux1": {
        "pipeline": "FluxPipeline",
        "slots": ("clip_l", "t5xxl"),
        "build": build_flux,
        "encode": encode_flux,
        "mu": calculate_shift,
        "clip_skips": (0,),
        "unpack": unpack,
    },
    "chroma": {
        "pipeline": "ChromaPipeline",
        "slots": ("t5xxl",),
        "build": build_chroma,
        "encode": encode_chroma,
        "clip_skips": (0,),
        "window": 511,
        "unpack": unpack,
        "mend": mend_chroma,
    },
    "flux2-klein": {
        "pipeline": "Flux2KleinPipeline",
        "slots": ("qwen3_4b",),
        "build": build_klein,
        "encode": encode_klein,
        "clip_skips": (0,),
        "window": 512,
        "denorm": denorm_klein,
        "unpack": lambda latents: unpack(latents if latents.ndim == 3 else latents.flatten(2).transpose(1, 2)),
        "mu": lambda tokens: compute_empirical_mu(tokens, 50),
    },
    "anima": {
        "pipeline": "AnimaModularPipeline",
        "slots": ("qwen3_06b",),
        "build": build_anima,
        "saving": {"overwrite_modular_index": True},
        "load": load_anima,
        "encode": encode_anima,
        "draw": draw_anima,
        "denoise": denoise_anima,
        "clip_skips": (0,),
        "resolution": 1024,
        "window": 512,
        "frames": lambda pixels: pixels[:, :, None],
        "denorm": denorm_anima,
        "rounding": 1.2e-5,  # the conditioner's attention is three times too loud
        "unpack": lambda latents: latents[:, :, 0],
    },
}
