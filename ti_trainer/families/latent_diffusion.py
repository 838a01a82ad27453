"""What all families with a U-Net and CLIP text encoders share (Rombach et al. 2022, "Latent Diffusion Models")."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..captions import expand
from ..config import ModelConfig
from ..data.latent_cache import tensor_hash
from ..data.latents import LatentPosterior
from ..errors import BadInput
from ..placeholders import PlaceholderEmbedding, Placeholders
from ..schedules import TARGETS, NoiseSchedule
from .base import Conditioning, choose
from .convolutions import freeze_convolutions
from .shadows import shadow, shadow_encoder
from .slots import TextSlot, set_end_of_text, text_slots
from .windows import all_windows, first_windows

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from transformers.modeling_outputs import BaseModelOutput
    from typing_extensions import Self


class LatentDiffusion(ABC):
    """A family without its text conditioning, which the subclasses add."""

    def __init__(
        self, pipeline: DiffusionPipeline, config: ModelConfig, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.config, self.device, self.dtype = config, device, dtype
        self._pipeline = pipeline
        self.unet, self.vae = pipeline.unet, pipeline.vae
        self.slots = text_slots(pipeline)
        check_supported(pipeline, config)
        for module in (self.unet, self.vae, *(slot.encoder for slot in self.slots)):
            module.requires_grad_(False).eval()
        if config.lean_convolutions and device.type == "cpu":  # nobody has measured it on a GPU
            freeze_convolutions(self.unet)
        for slot in self.slots:
            slot.encoder.to(device)
            set_end_of_text(slot)
        if config.gradient_checkpointing:
            self.unet.enable_gradient_checkpointing()
        override_scheduler(pipeline, config)
        self.schedule = noise_schedule(pipeline).to(device)
        self.scale = self.vae.config.scaling_factor
        self.pixels_per_latent = pipeline.vae_scale_factor
        self.resolution = self.unet.config.sample_size * self.pixels_per_latent
        halvings = len(self.unet.config.block_out_channels) - 1
        self.bucket_step = self.pixels_per_latent * 2**halvings
        self._names: dict[str, tuple[str, ...]] = {}

    def install(self, placeholders: Placeholders) -> None:
        """Make the tokens known to the tokenizers and put the rows in their places, once."""
        placeholders.to(self.device)
        for slot in self.slots:
            ids: list[int] = []
            for token in placeholders.spans:
                names = list(placeholders.names.get(token, ()))
                if slot.tokenizer.add_tokens(names) != len(names):
                    raise BadInput(f"'{token}' is already known to {slot.name}; choose another --token")
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
        """(B, 3, H, W) in [-1, 1] -> posterior of (B, c, h, w), float32: SDXL's VAE overflows in float16."""
        cast(self.vae, self.device, torch.float32)
        posterior = self.vae.encode(pixels.to(self.device, torch.float32)).latent_dist
        return LatentPosterior(posterior.mean, posterior.std)

    def vae_hash(self) -> str:
        return tensor_hash(self.vae.state_dict())

    def fingerprint(self) -> str:
        """The hash of the beginning of every tensor of the U-Net: any training of it changes them."""
        return tensor_hash({name: tensor.flatten()[:64] for name, tensor in self.unet.state_dict().items()})

    def encode_text(self, captions: Sequence[str]) -> Conditioning:
        """Captions with unexpanded tokens -> what `encode_prompt` of the family's pipeline gives.

        Each distinct caption is encoded once. With `long_captions: chunk` the context is that of all windows in a row,
        as WebUIs join them; shorter captions are padded, and the padding masked.
        """
        distinct = list(dict.fromkeys(captions))
        texts = [expand(caption, self._names) for caption in distinct]
        outputs = []
        for slot in self.slots:
            windows = self.windows(slot, texts)
            counts = [len(some) for some in windows]  # the same for every slot: the encoders share CLIP's vocabulary
            ids = torch.cat(windows).to(self.device)  # (N, 77)
            outputs.append(slot.encoder(ids, output_hidden_states=True))
        text = join_windows(self.condition(outputs), counts)  # (distinct, L, D)
        return text[[distinct.index(caption) for caption in captions]]  # (B, L, D)

    def windows(self, slot: TextSlot, texts: Sequence[str]) -> list[Tensor]:
        """The token ids of each text, (W, 77)."""
        if self.config.long_captions == "truncate":
            return list(first_windows(slot.tokenizer, texts)[:, None])  # each (1, 77)
        together = {
            slot.tokenizer.convert_tokens_to_ids(names[0]): len(names) for names in self._names.values() if names
        }
        return [all_windows(slot.tokenizer, text, together) for text in texts]

    @abstractmethod
    def condition(self, outputs: Sequence[BaseModelOutput]) -> Conditioning:
        """The outputs of every slot for N windows -> context (N, 77, D) and pooled (N, P)."""

    def added(self, text: Conditioning, sizes: Tensor) -> dict[str, Tensor] | None:
        """What the U-Net is told beside the context."""
        return None

    def predict(self, noisy: Tensor, timesteps: Tensor, text: Conditioning, sizes: Tensor) -> Tensor:
        """(B, 4, h, w), (B,), context (B, L, D), sizes (B, 6) as in Batch -> (B, 4, h, w) float32."""
        prediction = self.unet(
            noisy.to(self.dtype),
            timesteps,
            text.context.to(self.dtype),
            encoder_attention_mask=text.mask,
            added_cond_kwargs=self.added(text, sizes),
        )
        return prediction.sample.float()

    def put_away_vae(self) -> None:
        """The VAE goes to the CPU and the U-Net to the device: training works on cached latents."""
        self.vae.to("cpu")
        self.unet.to(self.device)

    def shadow(self, checkpointing: bool) -> Self:
        """The same family on the `meta` device, with or without gradient checkpointing: see families/shadows.py."""
        twin = copy.copy(self)
        twin.device = torch.device("meta")
        twin.unet, twin.vae = shadow(self.unet), shadow(self.vae)
        twin.slots = tuple(replace(slot, encoder=shadow_encoder(slot.encoder)) for slot in self.slots)
        if checkpointing:
            twin.unet.enable_gradient_checkpointing()
        else:
            twin.unet.disable_gradient_checkpointing()
        return twin

    def pipeline(self) -> Any:
        """The real diffusers pipeline, sharing these weights."""
        cast(self.vae, self.device, self.dtype)  # pipelines decode in float32 by themselves where a VAE needs it
        self.unet.to(self.device)
        return self._pipeline


def cast(module: torch.nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """`module.to(device, dtype)` without the warning that diffusers 0.42 gives at every cast."""
    torch.nn.Module.to(module, device, dtype)


def check_supported(pipeline: DiffusionPipeline, config: ModelConfig) -> None:
    """Raises BadInput for models of a known pipeline class that are made for something else."""
    channels, latents = pipeline.unet.config.in_channels, pipeline.vae.config.latent_channels
    if channels != latents:
        raise BadInput(
            f"--model {config.model} wants {channels} channels and pictures have {latents} latent ones: it is made for "
            "inpainting or editing; train on the model that it was made from, the embedding works in both"
        )
    normalised = getattr(pipeline.vae.config, "latents_mean", None) is not None
    if normalised or "beta_schedule" not in pipeline.scheduler.config:
        raise BadInput(
            f"--model {config.model} has another noise process ({type(pipeline.scheduler).__name__}) than Stable "
            "Diffusion; there is no family for it yet"
        )
    prediction_type = config.prediction_type or pipeline.scheduler.config.prediction_type
    if prediction_type not in TARGETS:
        raise BadInput(f"--model {config.model} predicts '{prediction_type}'; known are {', '.join(TARGETS)}")
    for slot in text_slots(pipeline):
        layers = slot.encoder.config.num_hidden_layers
        if config.clip_skip >= layers - 1:
            raise BadInput(f"--clip_skip is {config.clip_skip} and {slot.name} has {layers} layers; choose fewer")


def override_scheduler(pipeline: DiffusionPipeline, config: ModelConfig) -> None:
    """Put what the user says about the noise process into the pipeline's scheduler."""
    overrides: dict[str, Any] = {}
    if config.prediction_type is not None:
        overrides["prediction_type"] = config.prediction_type
    if config.zero_terminal_snr is not None:
        overrides["rescale_betas_zero_snr"] = config.zero_terminal_snr
    if config.zero_terminal_snr:
        overrides["timestep_spacing"] = "trailing"  # Lin et al. 2023, section 3.3: sampling starts at the last timestep
    if overrides:
        pipeline.scheduler = type(pipeline.scheduler).from_config({**pipeline.scheduler.config, **overrides})


def noise_schedule(pipeline: DiffusionPipeline) -> NoiseSchedule:
    """The schedule of training; samplers round it in their own ways, DDPM's is the definition."""
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    return NoiseSchedule(scheduler.alphas_cumprod.float(), scheduler.config.prediction_type)


def join_windows(text: Conditioning, counts: Sequence[int]) -> Conditioning:
    """Context (N, 77, D) of N windows -> (texts, L, D), of which text i has counts[i]; pooled is the first window's."""
    most, size = max(counts), text.context.shape[1]
    starts = [sum(counts[:i]) for i in range(len(counts))]
    rows: list[int] = []
    known = []
    for start, count in zip(starts, counts, strict=True):
        rows += [*range(start, start + count), *[start] * (most - count)]
        known.append([True] * (count * size) + [False] * ((most - count) * size))
    context = choose(text.context, rows).unflatten(0, (-1, most)).flatten(1, 2)  # (texts, most * 77, D)
    mask = None if min(counts) == most else torch.tensor(known, device=context.device)  # (texts, most * 77)
    return Conditioning(context, None if text.pooled is None else choose(text.pooled, starts), mask)
