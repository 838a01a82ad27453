"""What `ideas.py` tries: files beside the pictures, and functions in the place of the trainer's."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from suggest import Identity  # noqa: E402

from sample_data.world.captions import SCENE_WORDS  # noqa: E402
from sample_data.world.references import VIEWS  # noqa: E402
from ti_trainer import Concept, ModelConfig, TrainConfig  # noqa: E402
from ti_trainer.config.bundled import TINY_SD  # noqa: E402
from ti_trainer.data.batches import draw_example, stack_draws  # noqa: E402
from ti_trainer.families import Family, load_family  # noqa: E402
from ti_trainer.method import initializers, optimizers  # noqa: E402
from ti_trainer.method.initializers import Start  # noqa: E402
from ti_trainer.method.placeholders import NOBODY  # noqa: E402
from ti_trainer.method.sphere import EPS, Sphere, to_tangent  # noqa: E402
from ti_trainer.method.timesteps import TIMESTEPS, TimestepPolicy  # noqa: E402
from ti_trainer.method.vocabulary import word_ids  # noqa: E402
from ti_trainer.method.weightings import uniform  # noqa: E402
from ti_trainer.reports.prompts import SCENE_PROMPTS, class_word  # noqa: E402
from ti_trainer.training import learner, step  # noqa: E402
from ti_trainer.training.learner import Learner  # noqa: E402
from ti_trainer.training.objective import denoising_losses  # noqa: E402
from ti_trainer.training.suggestion import look_at_pictures  # noqa: E402
from ti_trainer.training.word_losses import WordLosses  # noqa: E402

# --- what needs no more than pictures and captions


def noun_beside(identity: Identity, folder: Path) -> dict[str, Any]:
    """Every second caption says what the thing is: "a photo of a <my-cat> cat"."""
    return templates(folder, ["a photo of a {token}", f"a photo of a {{token}} {identity[0]}"])


def templates(folder: Path, lines: Sequence[str]) -> dict[str, Any]:
    path = folder.with_suffix(".templates")
    path.write_text("\n".join(lines) + "\n")
    return {"templates": str(path)}


def scenes_named(identity: Identity, folder: Path) -> dict[str, Any]:
    """Each caption says where the thing is."""
    for number in range(1, len(VIEWS) + 1):
        (folder / f"{number}.txt").write_text(caption_of(number, "{token}") + "\n")
    return {}


def caption_of(number: int, word: str) -> str:
    """What the number-th picture shows, as far as a scene has words: "a photo of a WORD in the snow"."""
    scene = VIEWS[number - 1][0]
    return f"a photo of a {word} {SCENE_WORDS[scene][0] if scene in SCENE_WORDS else ''}".rstrip()


def scenes_and_masks(identity: Identity, folder: Path) -> dict[str, Any]:
    """Each caption says where the thing is, and so does what the masks are made with."""
    return scenes_named(identity, folder) | first_try_masks(identity, folder, scenes=True)


@torch.no_grad()
def first_try_masks(identity: Identity, folder: Path, scenes: bool = False) -> dict[str, Any]:
    """Masks of what the object's name does not explain: where the clean picture that it predicts is wrong.

    Mean square over 16 draws between .3 and .7 of the schedule, as a share of its 95th percentile.
    """
    family, views = seen_by(folder)
    schedule = family.schedule
    for number, view in enumerate(views, start=1):
        losses = WordLosses(family, [view], 0, levels=(0.3, 0.7))
        draws = [losses.draw(index) for index in range(16)]
        places = torch.tensor([draw.timestep for draw in draws])
        latents = family.to_latents(view.posterior.mean[None]).expand(16, -1, -1, -1)  # (16, c, h, w)
        noise = torch.stack([draw.noises(tuple(view.shape))[1] for draw in draws])
        timesteps = schedule.sample_timesteps(places, latents.shape[-2:])
        told = caption_of(number, identity[0]) if scenes else f"a photo of a {identity[0]}"
        text = family.encode_text([told], [NOBODY])[[0] * 16]
        sizes = torch.tensor([view.sizes] * 16)
        predicted = family.predict(schedule.add_noise(latents, noise, timesteps), timesteps, text, sizes)
        error = (predicted - noise).square().mean(1) / schedule.snr(timesteps)[:, None, None]  # (16, h, w), of x0
        share = (error.mean(0) / error.mean(0).quantile(0.95)).clamp(0.05, 1)  # (h, w)
        mask = Image.fromarray((255 * share.numpy()).astype(np.uint8)).resize((64, 64), Image.Resampling.BILINEAR)
        mask.save(folder / f"{number}.mask.png")
    return {"mask_background": 0.0}


@cache
def frozen() -> Family:
    return load_family(ModelConfig(model=TINY_SD), torch.device("cpu"), torch.float32)


def vocabularies(family: Family) -> dict[str, Any]:
    return {slot.name: slot for slot in family.slots}


def seen_by(folder: Path) -> tuple[Family, list[Any]]:
    """The model, and a concept's pictures as it sees them."""
    config = TrainConfig(Concept("<seen>", images=str(folder), masks="none"), model=TINY_SD)
    seen = look_at_pictures(config, frozen)
    return seen.family, seen.views


# --- what takes the place of a function


def in_pairs(data: Any, seed: int, step: int, index: int, batch: int, timesteps: Callable[[Tensor], Tensor]) -> Any:
    """Antithetic noise: examples come in pairs that differ in its sign alone."""
    pair, second = divmod(index, 2)
    draw = draw_example(data, seed, step, pair, batch // 2, timesteps)

    def noises(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        posterior, noise = draw.noises(shape)
        return posterior, -noise if second else noise

    return replace(draw, share=1 / batch, noises=noises)


def antithetic() -> AbstractContextManager[Any]:
    return patch.object(learner, "draw_example", in_pairs)


def from_output(vocabulary: Any, words: str, count: int | None, draws: torch.Generator) -> Tensor:
    """Cross Initialization (Pang et al. 2023): every row starts as the text encoder's output for the word.

    Of that the direction, and the word's length.
    """
    ids = word_ids(vocabulary.tokenizer, words)
    start, end = vocabulary.tokenizer.bos_token_id, vocabulary.tokenizer.eos_token_id
    with torch.no_grad():
        output = vocabulary.read(torch.tensor([[start, *ids, end]])).context[0, len(ids)]  # (D,)
    length = vocabulary.table[ids[-1]].norm()
    noise = torch.randn(count or 1, len(output), generator=draws) * initializers.SPREAD / math.sqrt(len(output))
    return F.normalize(F.normalize(output, dim=0) + noise, dim=1) * length


def cross_initialization() -> AbstractContextManager[Any]:
    return patch.object(initializers, "rows_of_words", from_output)


class FullCovariance(Sphere):
    """Adam whose second moment of a row is a matrix, g g^T in place of g^2, and its inverse root for the division."""

    def turn(self, own: Any, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["step"] += 1
        present = own.norm(dim=1, keepdim=True)
        direction = own / present
        slope = to_tangent(present * gradient, direction)
        if "matrix" not in state:
            state["matrix"] = torch.zeros(*own.shape, own.shape[1])  # (n, D, D)
        state["mean"].lerp_(slope, 1 - group["beta1"])
        state["matrix"].lerp_(slope[:, :, None] * slope[:, None, :], 1 - group["beta2"])
        mean = state["mean"] / (1 - group["beta1"] ** state["step"])
        values, vectors = torch.linalg.eigh(state["matrix"] / (1 - group["beta2"] ** state["step"]))
        floor = values[:, -1:] * 1e-3 + EPS**2  # directions in which nothing has been seen yet
        along = torch.einsum("nde,nd->ne", vectors, mean) / values.clamp(min=0).add(floor).sqrt()
        step = to_tangent(torch.einsum("nde,ne->nd", vectors, along), direction)
        own.copy_(state["length"] * F.normalize(direction - group["lr"] * step, dim=1))


class Directional(Sphere):
    """Directional Textual Inversion (2025, arXiv 2512.13672): the gradient over its norm, and a constant pull."""

    def turn(self, own: Any, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        present = own.norm(dim=1, keepdim=True)
        direction = own / present
        slope = to_tangent(present * gradient - 1e-4 * state["start"], direction)
        own.copy_(state["length"] * F.normalize(direction - group["lr"] * F.normalize(slope, dim=1), dim=1))


def moved_by(rule: type[Sphere]) -> Callable[[], AbstractContextManager[Any]]:
    """Another rule in the place of the sphere."""

    def build(rows: Any, lr: float, decay: float, settings: Mapping[str, float]) -> Any:
        return rule(rows, lr, (settings["beta1"], settings["beta2"]))

    row = replace(optimizers.OPTIMIZERS["sphere"], build=build)
    return lambda: patch.dict(optimizers.OPTIMIZERS, {"sphere": row})


def late_average() -> AbstractContextManager[Any]:
    """In the end the mean of the rows of the last half of the steps, as long as they were."""
    update = Learner.update

    def averaging(self: Any, loss: Tensor) -> None:
        update(self, loss)
        since = self.step - self.config.steps // 2
        if since > 0:
            present = self.snapshot()
            sums = self.__dict__.setdefault("sums", {slot: torch.zeros_like(rows) for slot, rows in present.items()})
            for slot, rows in present.items():
                sums[slot] += rows
            if self.step == self.config.steps:
                lengths = {slot: rows.norm(dim=1, keepdim=True) for slot, rows in present.items()}
                self.load({slot: F.normalize(sums[slot], dim=1) * lengths[slot] for slot in present})

    return patch.object(Learner, "update", averaging)


def context_term() -> AbstractContextManager[Any]:
    """CoRe (Wu et al. 2024, arXiv 2408.15914): the encoder's outputs for the words behind ours should be what they are
    behind the noun.

    A hundredth of the squared difference, as a share of what they are, which is about as much as the loss can fall.
    """

    def with_context(family: Family, batch: Any, weighting: Any) -> Tensor:
        terms = {owner: context_difference(family, owner) for owner in dict.fromkeys(batch.owners)}
        return denoising_losses(family, batch, weighting) + 0.01 * torch.stack([terms[each] for each in batch.owners])

    return patch.object(step, "denoising_losses", with_context)


def context_difference(family: Family, owner: str) -> Tensor:
    """The difference of outputs behind an owner's rows from those behind its noun, whose name the token ends with."""
    (slot,) = family.slots
    _, rows = family.placeholders.present[owner]
    noun = class_word(owner)
    asked = [prompt for prompt in SCENE_PROMPTS if prompt.scene]
    wanted = nouns_outputs(family, noun)  # (prompts, L, D)
    present = family.encode_text([prompt.of(owner) for prompt in asked], [owner] * len(asked)).context
    first = 1 + len(word_ids(slot.tokenizer, "a photo of a"))  # the token's position, behind the start
    longer = len(rows[slot.name]) - len(word_ids(slot.tokenizer, noun))
    behind = first + len(word_ids(slot.tokenizer, noun))
    wanted = wanted[:, behind : behind + 2]  # every scene has two words or more
    present = present[:, behind + longer : behind + longer + 2]
    return (present - wanted).square().sum() / wanted.square().sum()


@cache
@torch.no_grad()
def nouns_outputs(family: Family, noun: str) -> Tensor:
    asked = [prompt.of(noun) for prompt in SCENE_PROMPTS if prompt.scene]
    return family.encode_text(asked, [NOBODY] * len(asked)).context


@dataclass(frozen=True)
class Importance:
    """Noise levels as often as their gradients are large (Katharopoulos & Fleuret 2018), each counting the less."""

    edges: Tensor  # (bins + 1,): fractions of the schedule
    shares: Tensor  # (bins,): of the draws

    def place(self, draws: Tensor) -> Tensor:
        """Uniform draws -> fractions of the schedule."""
        sums = torch.cat([torch.zeros(1), self.shares.cumsum(0)])
        number = torch.searchsorted(sums[1:-1].contiguous(), draws.float(), right=True)
        inside = (draws - sums[number]) / self.shares[number]
        return self.edges[number] + inside * (self.edges[number + 1] - self.edges[number])

    def weigh(self, places: Tensor) -> Tensor:
        """Fractions of the schedule -> what a draw there counts, 1 on average."""
        number = torch.searchsorted(self.edges[1:-1].contiguous(), places, right=True)
        return 1 / (self.shares[number] * len(self.shares))


@cache
def importance() -> Importance:
    """By the root of the mean square of the row's gradient in each eighth of the schedule: 40 draws of the bundled cat,
    from its noun."""
    family, views = seen_by(ROOT / "sample_data" / "my-cat")
    squares = torch.zeros(8)
    rows = family.placeholders.add(
        "<seen>", initializers.initial_rows(Start("<seen>", "cat", 1), vocabularies(family), 0)
    )
    for number in range(len(squares)):
        losses = WordLosses(family, views, 0, levels=(number / 8, (number + 1) / 8))
        draws = stack_draws(
            [replace(losses.draw(index), caption="a photo of a <seen>", owner="<seen>") for index in range(40)]
        )
        for own in denoising_losses(family, draws, uniform):
            (gradient,) = torch.autograd.grad(own, list(rows.values()), retain_graph=True)
            squares[number] += gradient.square().sum()
    family.placeholders.remove("<seen>")
    shares = squares.sqrt() / squares.sqrt().sum()
    print("importance of eighths of the schedule:", [round(share, 3) for share in shares.tolist()], flush=True)
    return Importance(torch.linspace(0, 1, len(squares) + 1), shares)


@contextmanager
def importance_sampling() -> Iterator[None]:
    found = importance()
    schedule = frozen().schedule
    fractions = torch.linspace(0, 0.999, 1000)
    snr = schedule.snr(schedule.sample_timesteps(fractions, (16, 16)))  # (1000,), falling

    def weigh(own: Tensor, kind: str) -> Tensor:
        nearest = (own[:, None].log() - snr.log()).abs().argmin(1)
        return found.weigh(fractions[nearest])

    with (
        patch.object(learner, "parse_timesteps", lambda text: replace(TimestepPolicy(), name="importance")),
        patch.dict(TIMESTEPS, {"importance": found.place}),
        patch.object(learner, "get_weighting", lambda name, gamma: weigh),
    ):
        yield
