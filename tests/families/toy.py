"""A family that nobody in ti_trainer/ knows: a miniature of Stable Diffusion 3, with random weights.

It differs from the families of ti_trainer in everything in which a family may differ: three text encoders, one of which
is a T5 with a window of its own, latents that are shifted, a transformer, and a flow for its schedule. If it needs a
line anywhere in ti_trainer/, the protocol is missing something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.tiny_models import POOLED, TINY_MODELS, WIDTHS, WORDS, TinyModel, build_encoder, build_tokenizer, build_vae
from ti_trainer import BadInput, ModelConfig
from ti_trainer.families import FAMILIES, FamilySpec
from ti_trainer.families.conditioning import Conditioning
from ti_trainer.families.frozen_pipeline import FrozenPipeline, autoencoder_facts
from ti_trainer.families.parts import Parts
from ti_trainer.families.slots import CLIP_G, CLIP_L, SlotKind, slot_specs
from ti_trainer.files.wording import flag
from ti_trainer.method.schedules import FlowMatching

PIPELINE = "StableDiffusion3Pipeline"
T5_WIDTH = 80
T5 = SlotKind(
    "t5xxl",
    ("T5EncoderModel",),
    {},
    length=256,
    starts=False,
    width_entry="d_model",
    layers_entry="num_layers",
    skippable=False,
)


class Toy(FrozenPipeline):
    """The family of the models that `StableDiffusion3Pipeline` runs (Esser et al. 2024)."""

    kinds = (
        replace(CLIP_L, layer=-2, normed=False, pooled="text_embeds"),
        replace(CLIP_G, layer=-2, normed=False, pooled="text_embeds"),
        T5,
    )
    denoiser_part = "transformer"

    @classmethod
    def spec_of(cls, parts: Parts, config: ModelConfig) -> FamilySpec:
        for name in ("prediction_type", "zero_terminal_snr"):
            if getattr(config, name) is not None:
                raise BadInput(f"{flag(name)} is for Stable Diffusion 1.x, 2.x and XL; {config.model} is a flow")
        if config.long_captions != "truncate":
            raise BadInput(
                f"{flag('long_captions', config.long_captions)}: the transformer of {config.model} takes no mask"
            )
        transformer = parts["transformer"].config
        pixels_per_latent, channels = autoencoder_facts(parts)
        return FamilySpec(
            architecture="stable-diffusion-3-medium",
            resolution=transformer["sample_size"] * pixels_per_latent,
            pixels_per_latent=pixels_per_latent,
            latent_channels=channels,
            bucket_step=pixels_per_latent * transformer["patch_size"],
            slots=slot_specs(parts, cls.kinds, config.clip_skip),
        )

    def take_schedule(self, pipeline: Any) -> FlowMatching:
        return FlowMatching(pipeline.scheduler.config.shift, pipeline.scheduler.config.num_train_timesteps)

    def condition(self, texts: Sequence[Conditioning]) -> Conditioning:
        """The CLIPs side by side, widened with zeros, and T5 behind them: (B, 77 + 256, D)."""
        *clips, t5 = texts
        beside = torch.cat([text.context for text in clips], dim=-1)  # (B, 77, 72)
        beside = F.pad(beside, (0, t5.context.shape[-1] - beside.shape[-1]))  # (B, 77, D)
        pooled = torch.cat([text.pooled for text in clips if text.pooled is not None], dim=-1)  # (B, P)
        return Conditioning(torch.cat([beside, t5.context], dim=1), pooled)

    def predict(self, noisy: Tensor, timesteps: Tensor, text: Conditioning, sizes: Tensor) -> Tensor:
        assert text.pooled is not None
        prediction = self.denoiser(
            noisy.to(self.dtype),
            timestep=timesteps,
            encoder_hidden_states=text.context.to(self.dtype),
            pooled_projections=text.pooled.to(self.dtype),
        )
        return prediction.sample.float()

    def sampler(self) -> Any:
        from diffusers import FlowMatchEulerDiscreteScheduler

        return FlowMatchEulerDiscreteScheduler.from_config(self._pipeline.scheduler.config)


def build_t5_tokenizer() -> Any:
    """A sentencepiece-like tokenizer with WORDS as single tokens, and letters."""
    from transformers import T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    pieces += [(f"\u2581{word}", -1.0) for word in (*WORDS, "a")]
    pieces += [(chr(code), -8.0) for code in range(33, 127)]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)


def build_t5(tokenizer: Any) -> Any:
    from transformers import T5Config, T5EncoderModel

    # more entries than the tokenizer has words, as in the published model
    config = T5Config(
        vocab_size=len(tokenizer) + 5,
        d_model=T5_WIDTH,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=True,
    )
    return T5EncoderModel(config)


def build_transformer() -> Any:
    from diffusers import SD3Transformer2DModel

    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=T5_WIDTH,
        pooled_projection_dim=WIDTHS["clip_l"] + POOLED,
        pos_embed_max_size=24,
    )
    with torch.no_grad():  # words of a random model hardly count otherwise
        for name, parameter in transformer.named_parameters():
            if "context_embedder" in name or "attn.add" in name:
                parameter.mul_(3)
    return transformer


def build_toy(model: TinyModel) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline

    tokenizers = {"": build_tokenizer(), "_2": build_tokenizer(pad="!"), "_3": build_t5_tokenizer()}
    return StableDiffusion3Pipeline(
        transformer=build_transformer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=build_vae(latent_channels=16, scaling_factor=1.5, shift_factor=0.06, use_quant_conv=False),
        text_encoder=build_encoder("clip_l", tokenizers[""], projects=True),
        text_encoder_2=build_encoder("clip_g", tokenizers["_2"], projects=True),
        text_encoder_3=build_t5(tokenizers["_3"]),
        **{f"tokenizer{suffix}": tokenizer for suffix, tokenizer in tokenizers.items()},
    )


def add_rows() -> None:
    """What adding a family is: a row in the table of families, and one in that of tiny models."""
    FAMILIES[PIPELINE] = Toy
    TINY_MODELS["toy"] = TinyModel(
        PIPELINE,
        ("clip_l", "clip_g", "t5xxl"),
        "flow_prediction",
        build=build_toy,
        sampler="FlowMatchEulerDiscreteScheduler",
        prompts=("prompt", "prompt_2", "prompt_3"),
        chunks=False,
    )
