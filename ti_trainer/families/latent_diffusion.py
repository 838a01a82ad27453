"""What all families with a U-Net and CLIP text encoders share (Rombach et al. 2022, "Latent Diffusion Models")."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import repeat
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..config.config import ModelConfig
from ..data.batches import upload
from ..data.latent_cache import content_hash
from ..data.latents import LatentPosterior
from ..errors import BadInput
from ..method.placeholders import PlaceholderEmbedding, Placeholders
from ..method.schedules import TARGETS, VariancePreserving
from ..method.tokens import ROW
from .base import Conditioning, pick_rows
from .loading import load_vae
from .shadows import shadow, shadow_encoder
from .slots import TextSlot, set_end_of_text, text_slots
from .windows import all_windows, first_windows, place_rows

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
        self.unet = pipeline.unet
        self.slots = text_slots(pipeline)
        self.placeholders = Placeholders(device)
        check_supported(pipeline, config)
        self._vae, self._load_vae = pipeline.vae, load_vae(pipeline, config)
        self.scale = pipeline.vae.config.scaling_factor
        self.pixels_per_latent = pipeline.vae_scale_factor
        self.latent_channels = pipeline.vae.config.latent_channels
        for module in (self.unet, pipeline.vae, *(slot.encoder for slot in self.slots)):
            module.requires_grad_(False).eval()
        if config.lean_unet and device.type == "cpu":  # nobody has measured it on a GPU
            from .lean.blocks import make_lean

            make_lean(self.unet)
        if config.gradient_checkpointing:  # also chosen later where the memory is too small otherwise
            self.checkpoint_activations()
        self.unet.to(device)
        if device.type == "cuda":
            to_channels_last(self.unet)
        for slot in self.slots:
            slot.encoder.to(device)
            set_end_of_text(slot)
            slot.tokenizer.add_tokens([ROW])
            frozen = slot.encoder.get_input_embeddings()
            slot.encoder.set_input_embeddings(PlaceholderEmbedding(frozen, slot.name, self.placeholders))
        override_scheduler(pipeline, config)
        self.schedule = noise_schedule(pipeline).to(device)
        self.resolution = self.unet.config.sample_size * self.pixels_per_latent
        halvings = len(self.unet.config.block_out_channels) - 1
        self.bucket_step = self.pixels_per_latent * 2**halvings

    @property
    def vae(self) -> Any:
        """In float32; loaded again where it was put away."""
        if self._vae is None:
            self._vae = self._load_vae().requires_grad_(False).eval()
        return self._vae

    def put_away_vae(self) -> None:
        """Give back its memory: training works on cached latents."""
        self._vae = self._pipeline.vae = None

    @torch.no_grad()
    def encode_images(self, pixels: Tensor) -> LatentPosterior:
        """(B, 3, H, W) in [-1, 1] -> posterior of (B, c, h, w), float32: SDXL's VAE overflows in float16."""
        vae = self.vae
        cast(vae, self.device, torch.float32)
        pixels = pixels.to(self.device, torch.float32, memory_format=torch.channels_last)  # 0.9 x the time on CPUs
        posterior = vae.encode(pixels).latent_dist
        return LatentPosterior(posterior.mean, posterior.std)

    @cached_property
    def vae_hash(self) -> str:
        return content_hash(self.vae.state_dict())

    @cached_property
    def fingerprint(self) -> str:
        """The hash of the beginning of every tensor of the U-Net: any training of it changes them."""
        return content_hash({name: tensor.flatten()[:64] for name, tensor in self.unet.state_dict().items()})

    def encode_text(self, captions: Sequence[str], owners: Sequence[str] | None = None) -> Conditioning:
        """Captions with unexpanded tokens -> what `encode_prompt` of the family's pipeline gives.

        owners: the concept with whose rows each caption is read (see Placeholders); None: with everybody's. Each
        distinct caption is encoded once. With `long_captions: chunk` the context is that of all windows in a row, as
        WebUIs join them; shorter captions are padded, and the padding masked.
        """
        wanted = list(zip(captions, owners or repeat(None, len(captions)), strict=True))
        distinct = list(dict.fromkeys(wanted))
        texts = [self.placeholders.expand(caption, owner) for caption, owner in distinct]
        outputs = []
        for slot in self.slots:
            windows = self.windows(slot, texts)
            counts = [len(some) for some in windows]  # the same for every slot: the encoders share CLIP's vocabulary
            ids = upload(torch.cat(windows), self.device)  # (N, 77)
            outputs.append(slot.encoder(ids, output_hidden_states=True))
        text = join_windows(self.condition(outputs), counts)  # (distinct, L, D)
        return text[[distinct.index(each) for each in wanted]]  # (B, L, D)

    def windows(self, slot: TextSlot, texts: Sequence[tuple[str, list[int]]]) -> list[Tensor]:
        """The token ids of each text, (W, 77); texts: with ROW where a row belongs, and the rows' numbers."""
        row = slot.tokenizer.convert_tokens_to_ids(ROW)
        first = slot.encoder.get_input_embeddings().first
        if self.config.long_captions == "truncate":
            ids = first_windows(slot.tokenizer, [text for text, _ in texts])  # (N, 77)
            for own, (_, numbers) in zip(ids, texts, strict=True):
                place_rows(own, row, [first + number for number in numbers])
            return list(ids[:, None])  # each (1, 77)
        unbroken = {first + numbers[0]: len(numbers) for numbers in self.placeholders.numbers().values()}
        return [
            all_windows(slot.tokenizer, text, row, [first + number for number in numbers], unbroken)
            for text, numbers in texts
        ]

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

    def checkpoint_activations(self) -> None:
        """From now on compute the U-Net's activations twice instead of keeping them."""
        self.unet.enable_gradient_checkpointing()

    def shadow(self, checkpointing: bool) -> Self:
        """The same family on the `meta` device, with or without gradient checkpointing: see families/shadows.py.

        Of placeholders it has its own: none.
        """
        twin = copy.copy(self)
        twin.device = torch.device("meta")
        twin.placeholders = Placeholders(twin.device)
        twin.unet, twin._vae = shadow(self.unet), shadow(self.vae)
        twin.slots = tuple(
            replace(slot, encoder=shadow_encoder(slot.encoder, slot.name, twin.placeholders)) for slot in self.slots
        )
        if checkpointing:
            twin.unet.enable_gradient_checkpointing()
        else:
            twin.unet.disable_gradient_checkpointing()
        return twin

    def pipeline(self) -> Any:
        """The real diffusers pipeline, sharing these weights; in half precision with a VAE of its own."""
        vae = self.vae if self.dtype == torch.float32 else copy.deepcopy(self.vae)  # what is rounded stays so
        cast(vae, self.device, self.dtype)  # pipelines decode in float32 by themselves where a VAE needs it
        self._pipeline.vae = vae
        return self._pipeline


def cast(module: torch.nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """`module.to(device, dtype)` without the warning that diffusers 0.42 gives at every cast."""
    torch.nn.Module.to(module, device, dtype)


def to_channels_last(unet: Any) -> None:
    """Lay convolutions' weights out as cuDNN multiplies them; it would rearrange every picture otherwise."""
    unet.to(memory_format=torch.channels_last)


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


def noise_schedule(pipeline: DiffusionPipeline) -> VariancePreserving:
    """The schedule of training; samplers round it in their own ways, DDPM's is the definition."""
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    return VariancePreserving(scheduler.alphas_cumprod.float(), scheduler.config.prediction_type)


def join_windows(text: Conditioning, counts: Sequence[int]) -> Conditioning:
    """Context (N, 77, D) of N windows -> (texts, L, D), of which text i has counts[i]; pooled is the first window's."""
    most, size = max(counts), text.context.shape[1]
    starts = [sum(counts[:i]) for i in range(len(counts))]
    rows: list[int] = []
    known = []
    for start, count in zip(starts, counts, strict=True):
        rows += [*range(start, start + count), *[start] * (most - count)]
        known.append([True] * (count * size) + [False] * ((most - count) * size))
    context = pick_rows(text.context, rows).unflatten(0, (-1, most)).flatten(1, 2)  # (texts, most * 77, D)
    mask = None if min(counts) == most else torch.tensor(known, device=context.device)  # (texts, most * 77)
    return Conditioning(context, None if text.pooled is None else pick_rows(text.pooled, starts), mask)
