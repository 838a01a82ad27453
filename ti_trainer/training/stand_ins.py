"""How well rows stand in for a text: to the text encoders alone, or to the denoiser."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from ..config.config import TrainConfig
from ..data.images import to_pixels
from ..errors import BadInput
from ..families import Conditioning, Family
from ..files.wording import flag
from ..method.placeholders import NOBODY
from ..method.randomness import generator
from ..method.readouts import Readouts
from ..method.timesteps import parse_timesteps
from ..method.tokens import fill
from ..method.vocabulary import word_ids
from ..method.weightings import get_weighting
from ..reports.previews import generate
from .memory.plan import plan_memory

PICTURES = 8  # that the model draws of a text
WORD = re.compile(r"\w[\w'-]*")


class StandInLoss(ABC):
    """What rows are to make small: token and text are put into the same frame, drawn anew at each step."""

    name: ClassVar[str]  # what is compared

    def __init__(self, family: Family, config: TrainConfig, text: str, frames: Sequence[str], resolution: int) -> None:
        """frames: with TOKEN_FIELD in each; resolution: of the pictures that a denoiser works on, pixels."""
        self.family = family
        self.config = config
        self.token = config.concept.token
        self.asked = [fill(frame, self.token) for frame in frames]
        with torch.no_grad():
            self.wanted = family.encode_text([fill(frame, text) for frame in frames], [NOBODY] * len(frames))

    @abstractmethod
    def backward(self, step: int) -> Tensor:
        """Add the gradient of a step's loss to the rows'; returns the loss, a scalar."""


class ContextLoss(StandInLoss):
    """What attention reads of the text encoders' outputs (see method/readouts.py), and their pooled vector."""

    name = "text encoders"

    def __init__(self, family: Family, config: TrainConfig, text: str, frames: Sequence[str], resolution: int) -> None:
        super().__init__(family, config, text, frames, resolution)
        self.targets = [self.wanted[[number]] for number in range(len(frames))]
        self.readouts = [Readouts.of(*context_of(target)) for target in self.targets]

    def backward(self, step: int) -> Tensor:
        draws = generator(self.config.seed, "distill", self.name, self.token, step)
        number = int(torch.randint(len(self.asked), (), generator=draws))
        found = self.family.encode_text([self.asked[number]], [self.token])
        loss = distance(self.targets[number], self.readouts[number], found, draws)
        loss.backward()
        return loss.detach()


class PredictionLoss(StandInLoss):
    """The squared difference of the denoiser's predictions with token and with text, on pictures that it has drawn.

    They are drawn with the text as prompt and noised anew at each step. Other than in training on pictures, the target
    is not the noise that was drawn but what the denoiser makes of it, so the loss can reach 0.
    """

    name = "denoiser"

    def __init__(self, family: Family, config: TrainConfig, text: str, frames: Sequence[str], resolution: int) -> None:
        super().__init__(family, config, text, frames, resolution)
        prompts = [fill(frames[number % len(frames)], text) for number in range(PICTURES)]
        size = (resolution, resolution)
        drawn = generate(family, prompts, config.seed, config.preview_steps, config.guidance, size, owner=NOBODY)
        with torch.no_grad():
            means = [family.encode_images(to_pixels(image)[None]).mean for image in drawn]  # each (1, c, h, w)
            self.latents = family.to_latents(torch.cat(means))  # (PICTURES, c, h, w)
        self.sizes = torch.tensor([[resolution, resolution, 0, 0, resolution, resolution]])  # (1, 6)
        self.timesteps = parse_timesteps(config.timesteps)
        self.weighting = get_weighting(config.weighting, config.gamma)
        _, channels, height, width = self.latents.shape
        plan = plan_memory(
            family,
            (channels, height, width),
            config.batch_size,
            config.micro_batch_size,
            config.gradient_checkpointing,
            max(self.asked, key=len),
        )
        family.put_away_vae()
        self.at_once = plan.micro_batch
        if plan.gradient_checkpointing:
            family.checkpoint_activations()

    def backward(self, step: int) -> Tensor:
        count = self.config.batch_size
        total = torch.zeros((), device=self.family.device)
        for start in range(0, count, self.at_once):
            own = range(start, min(start + self.at_once, count))
            loss = self.losses(step, own).sum() / count
            loss.backward()
            total += loss.detach()
        return total

    def losses(self, step: int, examples: Sequence[int]) -> Tensor:
        """The loss of each of a step's examples, (B,)."""
        family = self.family
        schedule = family.schedule
        device = family.device
        chosen, frames, noises, draws = zip(*(self.draw(step, index) for index in examples), strict=True)
        latents = self.latents[list(chosen)]  # (B, c, h, w)
        places = self.timesteps(torch.tensor(draws)).to(device)  # (B,)
        timesteps = schedule.sample_timesteps(places, latents.shape[-2:])  # (B,)
        noisy = schedule.add_noise(latents, torch.stack(noises).to(device), timesteps)
        sizes = self.sizes.expand(len(chosen), -1).to(device)  # (B, 6)
        with torch.no_grad():
            target = family.predict(noisy, timesteps, self.wanted[frames], sizes)  # (B, c, h, w)
        text = family.encode_text([self.asked[frame] for frame in frames], [self.token] * len(frames))
        error = (family.predict(noisy, timesteps, text, sizes) - target).square()  # (B, c, h, w)
        return error.mean((1, 2, 3)) * self.weighting(schedule.snr(timesteps), schedule.prediction_type)

    def draw(self, step: int, index: int) -> tuple[int, int, Tensor, float]:
        """Picture, frame, noise (c, h, w) and place in the schedule of an example; stratified as in `draw_example`."""
        draws = generator(self.config.seed, "distill", self.name, self.token, step, index)
        picture = int(torch.randint(len(self.latents), (), generator=draws))
        frame = int(torch.randint(len(self.asked), (), generator=draws))
        place = (index + float(torch.rand((), generator=draws, dtype=torch.float64))) / self.config.batch_size
        return picture, frame, torch.randn(self.latents.shape[1:], generator=draws), place


def useful_words(family: Family, text: str, count: int, seed: int) -> str:
    """The words of a text without which its context changes most, in their order, of at most `count` tokens.

    Each word is left out in turn. Raises BadInput where no word has so few tokens.
    """
    found = list(WORD.finditer(text))
    with torch.no_grad():
        whole = read_alone(family, text)
        target = Readouts.of(*context_of(whole))
        changes = []
        for match in tqdm(found, desc="words of the text", leave=False, disable=None):
            without = read_alone(family, text[: match.start()] + text[match.end() :])
            changes.append(distance(whole, target, without, generator(seed, "useful words")).item())
    chosen: dict[str, int] = {}  # word -> its place
    room = count
    for place in sorted(range(len(found)), key=lambda place: -changes[place]):
        word = found[place].group()
        needed = max(len(word_ids(slot.tokenizer, word)) for slot in family.slots)
        if word not in chosen and needed <= room:
            chosen[word] = place
            room -= needed
    if not chosen:
        raise BadInput(
            f"no word of the text has as few tokens as {flag('num_vectors', count)}: choose more, or say with "
            f"{flag('init')} where the rows start"
        )
    return " ".join(sorted(chosen, key=lambda word: chosen[word]))


def read_alone(family: Family, caption: str) -> Conditioning:
    """What a caption is to the model when no concept's rows are in it, (1, L, D)."""
    return family.encode_text([caption], [NOBODY])


def context_of(text: Conditioning) -> tuple[Tensor, Tensor | None]:
    """The context (L, D) and the mask (L,) of the only text."""
    return text.context[0], None if text.mask is None else text.mask[0]


def distance(wanted: Conditioning, readouts: Readouts, found: Conditioning, draws: torch.Generator) -> Tensor:
    """How far one text's conditioning is from that of another, whose readouts are known: a scalar, 0 for the same."""
    context, mask = context_of(found)
    loss = readouts.loss(context, readouts.queries(draws), mask)
    if wanted.pooled is None or found.pooled is None:
        return loss
    pooled = wanted.pooled.float()
    return loss + F.mse_loss(found.pooled.float(), pooled) / pooled.square().mean()
