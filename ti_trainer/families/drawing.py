"""Drawing with the diffusers pipeline of a family, from conditioning that the family encodes."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .conditioning import Conditioning

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


class DrawsPictures(ABC):
    """What all families share that is about pictures; prompts are never given to a pipeline as text.

    diffusers' pipelines expand tokens by plain string replacement.
    """

    device: torch.device
    dtype: torch.dtype
    pixels_per_latent: int
    _pipeline: DiffusionPipeline

    @abstractmethod
    def bring_vae(self) -> Any:
        """The VAE, in float32."""

    @abstractmethod
    def encode_text(self, captions: Sequence[str], owners: Sequence[str] | None = None) -> Conditioning:
        """What the pipeline's `encode_prompt` gives."""

    def pipeline(self) -> Any:
        """The real diffusers pipeline, sharing these weights; in half precision with a VAE of its own."""
        vae = self.bring_vae()
        if self.dtype != torch.float32:
            vae = copy.deepcopy(vae)  # what is rounded stays so
        cast(vae, self.device, self.dtype)  # pipelines decode in float32 by themselves where a VAE needs it
        self._pipeline.vae = vae
        return self._pipeline

    @abstractmethod
    def sampler(self) -> Any:
        """A new diffusers scheduler with which the pipeline draws previews."""

    def prompt_arguments(
        self, prompts: Sequence[str], owner: str | None = None, negative: str = ""
    ) -> dict[str, Tensor]:
        """What the pipeline takes instead of prompts and of one negative prompt; owner: as in `encode_text`."""
        texts = [*prompts, *[negative] * len(prompts)]
        both = self.encode_text(texts, None if owner is None else [owner] * len(texts))  # (2 B, L, D)
        unwanted = both[range(len(prompts), len(texts))]
        return self.name_arguments(both[range(len(prompts))], unwanted if negative else self.nothing(unwanted))

    def nothing(self, empty: Conditioning) -> Conditioning:
        """What the pipeline takes for empty negative prompts; empty: what their text encoders give, (B, L, D)."""
        return empty

    def name_arguments(self, prompts: Conditioning, negative: Conditioning) -> dict[str, Tensor]:
        """What prompts and negative prompts, (B, L, D) each, are called in the pipeline; most pipelines agree."""
        arguments = {"prompt_embeds": prompts.context, "negative_prompt_embeds": negative.context}
        if prompts.pooled is not None and negative.pooled is not None:
            arguments |= {"pooled_prompt_embeds": prompts.pooled, "negative_pooled_prompt_embeds": negative.pooled}
        return arguments

    @torch.no_grad()
    def draw(
        self,
        prompts: Sequence[str],
        noise: Tensor,
        steps: int,
        guidance: float,
        owner: str | None = None,
        negative: str = "",
        after_step: Callable[[], object] = lambda: None,
    ) -> list[Any]:
        """A picture for each prompt, from noise (B, c, h, w), by the diffusers pipeline; owner: as in `encode_text`."""
        height, width = (side * self.pixels_per_latent for side in noise.shape[2:])
        told = self.prompt_arguments(prompts, owner, negative)
        how = {**told, "num_inference_steps": steps, "height": height, "width": width}
        return self.run_pipeline(noise.to(self.device, self.dtype), guidance, after_step, how)

    def run_pipeline(
        self, noise: Tensor, guidance: float, after_step: Callable[[], object], how: Mapping[str, Any]
    ) -> list[Any]:
        """The pictures that the pipeline makes of noise (B, c, h, w); how: what else most pipelines are told."""
        pipeline = self.pipeline()
        scheduler, bar = pipeline.scheduler, dict(getattr(pipeline, "_progress_bar_config", {}))

        def tell(pipe: Any, step: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
            after_step()
            return values

        try:
            pipeline.scheduler = self.sampler()
            pipeline.set_progress_bar_config(disable=True)
            return pipeline(
                **how,
                latents=self.noise_for_pipeline(noise),
                guidance_scale=guidance,
                callback_on_step_end=tell,
            ).images
        finally:
            pipeline.scheduler = scheduler
            pipeline.set_progress_bar_config(**{"disable": False, **bar})

    def noise_for_pipeline(self, noise: Tensor) -> Tensor:
        """Noise (B, c, h, w) as the pipeline takes it for its argument `latents`."""
        return noise


def cast(module: torch.nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """`module.to(device, dtype)` without the warning that diffusers 0.42 gives at every cast."""
    torch.nn.Module.to(module, device, dtype)
