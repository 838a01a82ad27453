"""Anima: Qwen 3 and the ids of a T5 meet in a text conditioner, whose output a Cosmos transformer reads (CircleStone).

diffusers runs it as a modular pipeline, which has no loader of embeddings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.batches import upload
from ..data.latents import LatentPosterior
from .conditioning import Conditioning
from .flow_transformer import FlowTransformer
from .parts import Parts
from .slots import QWEN3

T5_TOKENIZER = "t5_tokenizer"


class Anima(FlowTransformer):
    """The family of the models that `AnimaModularPipeline` runs.

    Rows are Qwen's. In the T5's ids, of which the conditioner has embeddings of its own, ComfyUI puts a pad token for
    each row, which is attended to like a word (anima.py, AnimaTEModel.encode_token_weights): so do we.
    """

    kinds = (
        replace(
            QWEN3,
            name="qwen3_06b",
            class_names=("Qwen3Model",),
            pads_to="longest",
            followers=(T5_TOKENIZER,),
        ),
    )
    further_parts = ("text_conditioner",)
    architecture = "anima"

    def prepare_denoiser(self) -> None:
        super().prepare_denoiser()
        let_cosmos_resize()

    @staticmethod
    def autoencoder_facts(parts: Parts) -> tuple[int, int]:
        vae = parts["vae"].config
        return 2 ** len(vae["temperal_downsample"]), vae["z_dim"]

    @staticmethod
    def latent_statistics(vae: Any) -> tuple[Tensor, Tensor]:
        """Of each channel, (c, 1, 1) each."""
        mean, deviation = (
            torch.tensor(each)[:, None, None] for each in (vae.config.latents_mean, vae.config.latents_std)
        )
        return mean, deviation

    def posterior(self, vae: Any, pixels: Tensor) -> LatentPosterior:
        """Pictures are films of one frame to its VAE."""
        of_film = vae.encode(pixels[:, :, None]).latent_dist
        return LatentPosterior(of_film.mean[:, :, 0], of_film.std[:, :, 0])

    def condition(self, texts: Sequence[Conditioning], captions: Sequence[str]) -> Conditioning:
        """Context (B, L, 1024) of Qwen and the T5's ids of the captions -> (B, 512, 1024)."""
        (text,) = texts
        assert text.mask is not None
        known = upload(text.mask, self.device)  # (B, L)
        ((tokenizer,),) = (slot.followers for slot in self.slots)
        read = tokenizer(list(captions), padding="longest", max_length=512, truncation=True, return_tensors="pt")
        context = self.further["text_conditioner"](
            source_hidden_states=text.context.masked_fill(~known[..., None], 0),
            target_input_ids=upload(read.input_ids, self.device),
            target_attention_mask=upload(read.attention_mask, self.device),
            source_attention_mask=known,
        )
        return Conditioning(context)

    def predict(self, noisy: Tensor, timesteps: Tensor, text: Conditioning, sizes: Tensor) -> Tensor:
        """(B, 16, h, w), (B,), context (B, 512, 1024) -> the velocity, (B, 16, h, w) float32."""
        height, width = (side * self.pixels_per_latent for side in noisy.shape[2:])
        prediction = self.denoiser(
            hidden_states=noisy[:, :, None].to(self.dtype),
            timestep=self.levels(timesteps),
            encoder_hidden_states=text.context.to(self.dtype),
            padding_mask=torch.zeros(1, 1, height, width, device=noisy.device, dtype=self.dtype),
        )
        return prediction.sample[:, :, 0].float()

    def noise_for_pipeline(self, noise: Tensor) -> Tensor:
        """A film of one frame, (B, 16, 1, h, w)."""
        return noise[:, :, None]

    def run_pipeline(
        self, noise: Tensor, guidance: float, after_step: Callable[[], object], how: Mapping[str, Any]
    ) -> list[Any]:
        """With the pipeline's own blocks, but for those that read prompts."""
        from diffusers import ClassifierFreeGuidance
        from diffusers.modular_pipelines import SequentialPipelineBlocks
        from diffusers.modular_pipelines.anima import before_denoise, modular_blocks_anima

        painter = SequentialPipelineBlocks.from_blocks_dict(
            {
                "input": before_denoise.AnimaTextInputStep(),
                "latents": before_denoise.AnimaPrepareLatentsStep(),
                "timesteps": before_denoise.AnimaSetTimestepsStep(),
                "denoise": modular_blocks_anima.AnimaDenoiseStep(),
                "decode": modular_blocks_anima.AnimaDecodeStep(),
            }
        ).init_pipeline()
        pipeline = self.pipeline()
        painter.update_components(
            transformer=pipeline.transformer,
            vae=pipeline.vae,
            scheduler=told_of_steps(self.sampler(), after_step),
            guider=ClassifierFreeGuidance(guidance_scale=guidance),
        )
        painter.set_progress_bar_config(disable=True)
        images: list[Any] = painter(**how, latents=self.noise_for_pipeline(noise.float()), output="images")
        return images


def told_of_steps(sampler: Any, after_step: Callable[[], object]) -> Any:
    """A scheduler that tells of each of its steps: modular pipelines tell nobody."""
    step = sampler.step

    def stepping(*arguments: Any, **how: Any) -> Any:
        after_step()
        return step(*arguments, **how)

    sampler.step = stepping
    return sampler


def let_cosmos_resize() -> None:
    """Give diffusers' module of the transformer what it takes from torchvision, where that is not installed.

    It resizes one mask with it, to the nearest pixels.
    """
    from diffusers.models.transformers import transformer_cosmos

    def resize(mask: Tensor, size: list[int], interpolation: object) -> Tensor:
        return F.interpolate(mask, size, mode="nearest")

    if not hasattr(transformer_cosmos, "transforms"):
        transformer_cosmos.transforms = SimpleNamespace(
            functional=SimpleNamespace(resize=resize), InterpolationMode=SimpleNamespace(NEAREST=None)
        )
