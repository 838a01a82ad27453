"""What all families share: a diffusers pipeline with text encoders, a VAE and a denoiser, none of them trained."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import repeat
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ..config.model import ModelConfig
from ..data.latent_cache import content_hash
from ..data.latents import LatentPosterior
from ..embedding_files.embedding import needed_slots
from ..method.placeholders import PlaceholderEmbedding, Placeholders
from ..method.schedules import Schedule
from ..method.tokens import ROW
from .base import FamilySpec
from .conditioning import Conditioning, join_windows
from .drawing import DrawsPictures, cast
from .loading import loads_embeddings
from .parts import Parts, parts_of
from .plain_texts import PlainTexts
from .quantizing import quantize
from .shadows import shadow, shadow_encoder
from .slots import SlotKind, TextSlot, chosen_slots, set_end_of_text, text_slots
from .windows import all_windows, first_windows, place_rows

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from typing_extensions import Self


class FrozenPipeline(DrawsPictures):
    """A family without what tells it from others, which its subclass adds."""

    kinds: ClassVar[tuple[SlotKind, ...]]  # of text encoders that its models may have
    checkpoint_prefix: ClassVar[str | None] = None  # with which a tensor's name starts in its single files only
    denoiser_part: ClassVar[str]  # the denoiser's name in the pipeline
    further_parts: ClassVar[tuple[str, ...]] = ()  # names of models between text encoders and denoiser

    @classmethod
    @abstractmethod
    def spec_of(cls, parts: Parts, config: ModelConfig) -> FamilySpec:
        """What the configs of a pipeline's parts say; raises BadInput for models that are made for something else."""

    def __init__(
        self,
        pipeline: DiffusionPipeline,
        config: ModelConfig,
        device: torch.device,
        dtype: torch.dtype,
        load_vae: Callable[[], Any],
    ) -> None:
        """dtype: of the denoiser and the text encoders; load_vae: brings back a VAE that was put away, in float32."""
        self.config = config
        self.device = device
        self.dtype = dtype
        self.spec = self.spec_of(parts_of(pipeline), config)
        self.pixels_per_latent = self.spec.pixels_per_latent
        self.latent_channels = self.spec.latent_channels
        self.denoiser = getattr(pipeline, self.denoiser_part)
        self.readers = text_slots(pipeline, self.kinds, config.clip_skip)
        self.slots = chosen_slots(self.readers, config, needed_slots(self.spec.architecture))
        self.plain = PlainTexts()
        self.further = {name: getattr(pipeline, name) for name in self.further_parts}
        self.placeholders = Placeholders(device)
        self.loads_embeddings = loads_embeddings(pipeline)
        self._pipeline = pipeline
        self._vae = pipeline.vae
        self._load_vae = load_vae
        self.mean, self.deviation = self.latent_statistics(pipeline.vae)
        for module in (pipeline.vae, *(slot.encoder for slot in self.readers), *self.further.values()):
            module.requires_grad_(False).eval()
        self.prepare_denoiser()
        for slot in self.readers:
            slot.drop_unread_layers()
        if config.quantize:
            _ = self.fingerprint  # which is kept from here on: of the weights as they were
            for module in (self.denoiser, *(slot.body for slot in self.readers if slot.kind.checkpoints)):
                quantize(module, config.quantize, dtype)
        if config.gradient_checkpointing:  # also chosen later where the memory is too small otherwise
            self.checkpoint_activations()
        for module in (self.denoiser, *self.further.values()):
            module.to(device)
        for slot in self.readers:
            slot.body.to(device)
            set_end_of_text(slot)
        for slot in self.slots:
            slot.learn_words([ROW])
            frozen = slot.encoder.get_input_embeddings()
            slot.encoder.set_input_embeddings(PlaceholderEmbedding(frozen, slot.name, self.placeholders))
        self.schedule = self.take_schedule(pipeline).to(device)

    def prepare_denoiser(self) -> None:
        """Freeze the denoiser, and do what makes a frozen one faster; called once, before it moves to its device."""
        self.denoiser.requires_grad_(False).eval()

    @abstractmethod
    def take_schedule(self, pipeline: DiffusionPipeline) -> Schedule:
        """Put what the user says about the noise process into the pipeline's scheduler; returns that of training."""

    def bring_vae(self) -> Any:
        """The VAE, in float32; it is loaded again where it was put away."""
        if self._vae is None:
            self._vae = self._load_vae().requires_grad_(False).eval()
        return self._vae

    def put_away_vae(self) -> None:
        """Give back its memory: training works on cached latents."""
        self._pipeline.vae = None
        self._vae = None

    @cached_property
    def vae_hash(self) -> str:
        """The hash of all weights of the VAE."""
        return content_hash(self.bring_vae().state_dict())

    @cached_property
    def fingerprint(self) -> str:
        """The hash of the beginning of every tensor of the denoiser: any training of it changes them."""
        return content_hash({name: tensor.flatten()[:64] for name, tensor in self.denoiser.state_dict().items()})

    @torch.no_grad()
    def encode_images(self, pixels: Tensor) -> LatentPosterior:
        """(B, 3, H, W) in [-1, 1] -> posterior of (B, c, h, w), float32: SDXL's VAE overflows in float16."""
        vae = self.bring_vae()
        cast(vae, self.device, torch.float32)
        pixels = pixels.to(self.device, torch.float32, memory_format=torch.channels_last)  # 0.9 x the time on CPUs
        return self.posterior(vae, pixels)

    def posterior(self, vae: Any, pixels: Tensor) -> LatentPosterior:
        """What a VAE makes of (B, 3, H, W): (B, c, h, w)."""
        posterior = vae.encode(pixels).latent_dist
        return LatentPosterior(posterior.mean, posterior.std)

    @staticmethod
    def latent_statistics(vae: Any) -> tuple[Tensor, Tensor]:
        """Mean and deviation of a VAE's samples, in shapes that `to_latents` can use."""
        config = vae.config
        mean = torch.tensor(config.get("shift_factor") or 0.0)  # some VAEs have none
        return mean, 1 / torch.tensor(config.get("scaling_factor", 1.0), dtype=torch.float64)

    def to_latents(self, sample: Tensor) -> Tensor:
        """Normed to mean 0 and deviation 1, (B, c, h, w)."""
        return (sample - self.mean.to(sample)) / self.deviation.to(sample)

    def encode_text(self, captions: Sequence[str], owners: Sequence[str] | None = None) -> Conditioning:
        """Captions with unexpanded tokens -> what `encode_prompt` of the family's pipeline gives.

        owners: the concept with whose rows each caption is read (see Placeholders); None: with everybody's. Each
        distinct caption is encoded once. With `long_captions: chunk` the context is that of all windows in a row, as
        WebUIs join them; shorter captions are padded, and the padding masked.
        """
        wanted = list(zip(captions, owners or repeat(None, len(captions)), strict=True))
        distinct = list(dict.fromkeys(wanted))
        texts = [self.placeholders.expand(caption, owner) for caption, owner in distinct]
        read = []
        for slot in self.readers:
            if slot not in self.slots:
                read.append(self.plain.read(slot, [text for text, _ in texts]))  # (distinct, L, D)
                continue
            windows = self.windows(slot, texts)
            read.append(
                join_windows(slot.read(torch.cat(windows)), [len(some) for some in windows])
            )  # (distinct, L, D)
        return self.condition(read, [text for text, _ in texts])[[distinct.index(each) for each in wanted]]  # (B, L, D)

    def windows(self, slot: TextSlot, texts: Sequence[tuple[str, list[int]]]) -> list[Tensor]:
        """The token ids of each text, (W, T); texts: with ROW where a row belongs, and the rows' numbers."""
        row = slot.tokenizer.convert_tokens_to_ids(ROW)
        first = slot.encoder.get_input_embeddings().first
        if self.config.long_captions == "truncate":
            ids = first_windows(slot, [text for text, _ in texts])  # (N, T)
            for own, (_, numbers) in zip(ids, texts, strict=True):
                place_rows(own, row, [first + number for number in numbers])
            return list(ids[:, None])  # each (1, T)
        unbroken = {first + numbers[0]: len(numbers) for numbers in self.placeholders.numbers().values()}
        return [
            all_windows(slot, text, row, [first + number for number in numbers], unbroken) for text, numbers in texts
        ]

    @abstractmethod
    def condition(self, texts: Sequence[Conditioning], captions: Sequence[str]) -> Conditioning:
        """What each slot gives, (B, L, D) and (B, P) -> what the denoiser is told; captions: with ROWs in them."""

    @abstractmethod
    def predict(self, noisy: Tensor, timesteps: Tensor, text: Conditioning, sizes: Tensor) -> Tensor:
        """(B, c, h, w), (B,), sizes (B, 6) as in Batch -> what the schedule calls the target, (B, c, h, w) float32."""

    @property
    def models(self) -> tuple[torch.nn.Module, ...]:
        """All that is in memory while rows are trained, the VAE not counted."""
        return self.denoiser, *(slot.body for slot in self.readers), *self.further.values()

    def checkpoint_activations(self) -> None:
        """From now on compute the activations of the denoiser, and of large encoders, twice instead of keeping them."""
        self.set_checkpointing(True)

    def set_checkpointing(self, on: bool) -> None:
        for module in (self.denoiser, *self.further.values()):
            module.enable_gradient_checkpointing() if on else module.disable_gradient_checkpointing()
        for slot in self.slots:
            slot.checkpoint_activations(on)

    def shadow(self, checkpointing: bool) -> Self:
        """The same family on the `meta` device, with or without gradient checkpointing: see families/shadows.py.

        Of placeholders it has its own: none.
        """
        twin = copy.copy(self)
        twin.device = torch.device("meta")
        twin.placeholders = Placeholders(twin.device)
        twin.denoiser = shadow(self.denoiser)
        twin.further = {name: shadow(module) for name, module in self.further.items()}
        twin._vae = shadow(self.bring_vae())
        twin.plain = PlainTexts()
        trained = {
            slot.name: replace(slot, encoder=shadow_encoder(slot.encoder, slot.name, twin.placeholders))
            for slot in self.slots
        }
        twin.slots = tuple(trained.values())
        twin.readers = tuple(
            trained.get(slot.name) or replace(slot, encoder=shadow(slot.encoder)) for slot in self.readers
        )
        twin.set_checkpointing(checkpointing)
        return twin


def autoencoder_facts(parts: Parts) -> tuple[int, int]:
    """Pixels per latent and channels of latents of an AutoencoderKL: each block but the last halves the sides."""
    vae = parts["vae"].config
    return 2 ** (len(vae["block_out_channels"]) - 1), vae["latent_channels"]
