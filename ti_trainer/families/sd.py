"""Stable Diffusion 1.x: one CLIP text encoder (Rombach et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..captions import expand
from ..data.latent_cache import tensor_hash
from ..data.latents import LatentPosterior
from ..errors import BadInput
from ..placeholders import PlaceholderEmbedding, Placeholders
from ..schedules import TARGETS, NoiseSchedule
from .base import Conditioning, LoadOptions, TextSlot, quiet_loading, set_end_of_text

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline


class StableDiffusion:
    """The family of the model that `StableDiffusionPipeline` runs."""

    architecture = "stable-diffusion-v1"

    def __init__(self, pipeline: StableDiffusionPipeline, options: LoadOptions) -> None:
        self.device, self.dtype, self.clip_skip = options.device, options.dtype, options.clip_skip
        self._pipeline = pipeline
        self.unet, self.vae, encoder = pipeline.unet, pipeline.vae, pipeline.text_encoder
        for module in (self.unet, self.vae, encoder):
            module.requires_grad_(False).eval()
        self.unet.to(self.device)
        encoder.to(self.device)
        set_end_of_text(encoder, pipeline.tokenizer)
        self.slots: tuple[TextSlot, ...] = (TextSlot("clip_l", pipeline.tokenizer, encoder),)
        prediction_type = pipeline.scheduler.config.prediction_type
        if prediction_type not in TARGETS:
            raise BadInput(f"the model predicts '{prediction_type}'; known are {', '.join(TARGETS)}")
        alphas = pipeline.scheduler.alphas_cumprod.float()
        self.schedule = NoiseSchedule(alphas, prediction_type).to(self.device)
        self.scale = self.vae.config.scaling_factor
        self.pixels_per_latent = pipeline.vae_scale_factor
        self.bucket_step = self.pixels_per_latent * 2 ** (
            len(self.unet.config.block_out_channels) - 1
        )  # the U-Net halves
        self.resolution = self.unet.config.sample_size * self.pixels_per_latent
        layers = encoder.config.num_hidden_layers
        if self.clip_skip >= layers:
            raise BadInput(f"--clip_skip is {self.clip_skip} and the text encoder has {layers} layers; choose fewer")
        self._names: dict[str, tuple[str, ...]] = {}

    @classmethod
    def load(cls, source: str, options: LoadOptions) -> StableDiffusion:
        try:
            with quiet_loading():
                from diffusers import StableDiffusionPipeline

                pipeline = StableDiffusionPipeline.from_pretrained(
                    source,
                    dtype=options.dtype,
                    revision=options.revision,
                    safety_checker=None,
                    requires_safety_checker=False,
                )
        except (OSError, ValueError) as error:
            raise BadInput(f"--model {source} cannot be loaded: {str(error).splitlines()[0]}") from None
        return cls(pipeline, options)

    def install(self, placeholders: Placeholders) -> None:
        """Make the tokens known to the tokenizer and put the rows in their places, once."""
        (slot,) = self.slots
        placeholders.to(self.device)
        ids: list[int] = []
        for token in placeholders.spans:
            names = list(placeholders.names.get(token, ()))
            if slot.tokenizer.add_tokens(names) != len(names):
                raise BadInput(f"'{token}' is already known to the tokenizer; choose another --token")
            # a tuned word has no names: its rows stand where the vocabulary's stood
            ids += (
                slot.tokenizer.convert_tokens_to_ids(names)
                if names
                else slot.tokenizer(token, add_special_tokens=False).input_ids
            )
        frozen = slot.encoder.get_input_embeddings()
        slot.encoder.set_input_embeddings(PlaceholderEmbedding(frozen, ids, placeholders.rows[slot.name]))
        self._names = placeholders.names

    @torch.no_grad()
    def encode_images(self, pixels: Tensor) -> LatentPosterior:
        """(B, 3, H, W) in [-1, 1] -> posterior of (B, 4, H/8, W/8)."""
        self.vae.to(self.device)
        posterior = self.vae.encode(pixels.to(self.device, self.dtype)).latent_dist
        return LatentPosterior(posterior.mean, posterior.std)

    def vae_hash(self) -> str:
        return tensor_hash(self.vae.state_dict())

    def encode_text(self, captions: Sequence[str]) -> Conditioning:
        """Captions with unexpanded tokens -> context (B, 77, D), as `encode_prompt` of the pipeline gives it.

        Each distinct caption is encoded once.
        """
        (slot,) = self.slots
        distinct = list(dict.fromkeys(captions))
        tokens = slot.tokenizer(
            [expand(caption, self._names) for caption in distinct],
            padding="max_length",
            max_length=slot.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        uses_mask = getattr(slot.encoder.config, "use_attention_mask", False)
        mask = tokens.attention_mask.to(self.device) if uses_mask else None
        ids = tokens.input_ids.to(self.device)  # (distinct, 77)
        output = slot.encoder(ids, attention_mask=mask, output_hidden_states=self.clip_skip > 0)
        if self.clip_skip:
            context = slot.encoder.final_layer_norm(output.hidden_states[-1 - self.clip_skip])
        else:
            context = output.last_hidden_state  # (distinct, 77, D)
        return Conditioning(context[[distinct.index(caption) for caption in captions]])  # (B, 77, D)

    def predict(self, noisy: Tensor, timesteps: Tensor, text: Conditioning, sizes: Tensor) -> Tensor:
        """(B, 4, h, w), (B,), context (B, 77, D), sizes unused -> (B, 4, h, w) float32."""
        return self.unet(noisy.to(self.dtype), timesteps, text.context.to(self.dtype)).sample.float()

    def put_away_vae(self) -> None:
        """Move the VAE to the CPU: training works on cached latents."""
        self.vae.to("cpu")

    def pipeline(self) -> StableDiffusionPipeline:
        """The real diffusers pipeline, sharing these weights."""
        self.vae.to(self.device)
        return self._pipeline
