"""Parts of the published models, to be built on the `meta` device."""

from __future__ import annotations

from typing import Any

from torch import nn

CLIP_WORDS = {"vocab_size": 49_408, "max_position_embeddings": 77, "eos_token_id": 2}


def millions(module: nn.Module) -> float:
    """Its parameters, in millions."""
    return round(sum(parameter.numel() for parameter in module.parameters()) / 1e6, 1)


def clip_l(projects: bool = False) -> Any:
    """openai/clip-vit-large-patch14."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        projection_dim=768,
        **CLIP_WORDS,
    )
    return (CLIPTextModelWithProjection if projects else CLIPTextModel)(config)


def clip_g() -> Any:
    """laion/CLIP-ViT-bigG-14."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        hidden_size=1280,
        intermediate_size=5120,
        num_hidden_layers=32,
        num_attention_heads=20,
        projection_dim=1280,
        hidden_act="gelu",
        **CLIP_WORDS,
    )
    return CLIPTextModelWithProjection(config)


def t5_xxl() -> Any:
    """google/t5-v1_1-xxl."""
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=32_128,
        d_model=4096,
        d_kv=64,
        d_ff=10_240,
        num_layers=24,
        num_heads=64,
        feed_forward_proj="gated-gelu",
    )
    return T5EncoderModel(config)


def vae_of_16_channels(**changes: Any) -> Any:
    """That of Stable Diffusion 3, Flux.1 and Chroma."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        sample_size=1024,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=16,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        use_quant_conv=False,
        use_post_quant_conv=False,
        **changes,
    )
