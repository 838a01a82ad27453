"""From a text to a few rows that stand in for it: no pictures are needed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tqdm.auto import tqdm

from ..config.concept import FROM_PICTURES
from ..config.config import TrainConfig
from ..data.captions import load_templates
from ..data.examples import start_of
from ..embedding_files import Embedding
from ..embedding_files.conversion import Conversion, check_free, place, write_as
from ..errors import BadInput, Diverged
from ..families import Family, fastest_device
from ..files.wording import flag
from ..method.clipping import clip_gradients
from ..method.initializers import DEFAULT_VECTORS, initial_rows
from ..method.lr_schedules import lr_factor
from ..method.optimizers import make_optimizer, parse_optimizer
from ..method.placeholders import Rows
from ..method.tokens import TOKEN_FIELD, fill
from ..method.vocabulary import word_ids
from . import preflight
from .export import describe_origin
from .prepare import load_model
from .processes import choose_dtype
from .signals import Flag, StopSignals
from .stand_ins import ContextLoss, PredictionLoss, StandInLoss, useful_words


@dataclass(frozen=True)
class Distilled:
    """What was made of a text."""

    embedding: Embedding
    init: str  # the words from which the rows started
    losses: dict[str, list[float]]  # of each step, by what was compared
    seconds: float
    stopped_by: int | None  # the signal, 0 where another thread did; None: it went to its end


def distill(config: TrainConfig, text: str, denoiser_steps: int = 0, stop: Flag | None = None) -> Distilled:
    """Fit the rows of the config's token to a text, in the frames that its templates are, and alone.

    For `config.steps` steps the text encoders' outputs are compared, then for `denoiser_steps` the denoiser's
    predictions. The settings of pictures and captions are not used. A wish to stop ends it after the present step with
    the rows so far. Raises BadInput before anything is learned, and Diverged.
    """
    started = time.perf_counter()
    text = " ".join(text.split())
    frames = list(dict.fromkeys((TOKEN_FIELD, *load_templates(config.concept.templates))))
    device = fastest_device()
    family = load_model(config, device, choose_dtype(config.precision, "no", device))
    resolution = preflight.check_resolution(config, family)
    config = with_start(family, config, text, frames)
    concept = config.concept
    vocabularies = {slot.name: slot for slot in family.slots}
    rows = family.placeholders.add(concept.token, initial_rows(start_of(concept), vocabularies, config.seed))
    losses: dict[str, list[float]] = {}
    stages: list[tuple[type[StandInLoss], int]] = [(ContextLoss, config.steps), (PredictionLoss, denoiser_steps)]
    with StopSignals(stop) as signals:
        for kind, steps in stages:
            if steps and not signals.is_wished:
                objective = kind(family, config, text, frames, resolution)
                losses[kind.name] = follow(objective, rows, config, steps, signals)
        stopped_by = (signals.received or 0) if signals.is_wished else None
    vectors = {slot: own.detach().cpu() for slot, own in rows.items()}
    step = sum(map(len, losses.values()))
    count = len(next(iter(vectors.values())))
    told = describe_origin(config, family, count, resolution, step, concept.trigger, text=text)
    embedding = Embedding(concept.token, vectors, told)
    return Distilled(embedding, concept.init, losses, time.perf_counter() - started, stopped_by)


def with_start(family: Family, config: TrainConfig, text: str, frames: Sequence[str]) -> TrainConfig:
    """The config with the number of rows and the words that they start from; raises BadInput where nothing can start.

    frames: with TOKEN_FIELD in each.
    """
    concept = config.concept
    count = concept.num_vectors or DEFAULT_VECTORS
    preflight.check_token_is_new(concept, family.slots)
    check_windows(family, text, frames, count, config.long_captions)
    init = useful_words(family, text, count, config.seed) if concept.init == FROM_PICTURES else concept.init
    return replace(config, concept=replace(concept, init=init, num_vectors=count))


def follow(objective: StandInLoss, rows: Rows, config: TrainConfig, steps: int, signals: StopSignals) -> list[float]:
    """Let rows follow an objective for some steps, with a progress bar; returns the loss of each step that was taken.

    Raises Diverged.
    """
    parameters = list(rows.values())
    optimizer = make_optimizer(config.optimizer, parameters, config.lr, config.weight_decay)
    rule, _ = parse_optimizer(config.optimizer)
    losses: list[float] = []
    with tqdm(total=steps, desc=objective.name, leave=False, disable=None) as bar:
        for step in range(steps):
            if signals.is_wished:
                break
            for group in optimizer.param_groups:
                group["lr"] = config.lr * lr_factor(config.lr_schedule, step, steps, config.warmup_steps)
            optimizer.zero_grad()
            loss = objective.backward(step)
            gradients = [own.grad for own in parameters if own.grad is not None]
            if not all(torch.isfinite(tensor).all() for tensor in (loss, *gradients)):
                raise Diverged(
                    f"the loss or a gradient is not finite at step {step}: nothing was written; take a lower "
                    f"{flag('lr')} than {config.lr:g}"
                )
            clip_gradients(gradients, config.max_grad_norm if rule.clips else 0.0)
            optimizer.step()
            losses.append(loss.item())
            bar.set_postfix(loss=f"{losses[-1]:.5f}", refresh=False)
            bar.update()
    return losses


def check_windows(family: Family, text: str, frames: Sequence[str], count: int, long_captions: str) -> None:
    """Raises BadInput for a text that says nothing or is longer than what is read, and for more rows than fit."""
    if not text:
        raise BadInput("the text is empty: write what the token is to stand for")
    for slot in family.slots:
        around = max(len(word_ids(slot.tokenizer, fill(frame, ""))) for frame in frames)
        if around + count > slot.window:
            raise BadInput(
                f"{flag('num_vectors', count)} and {around} tokens of a template are more than the {slot.window} that "
                f"{slot.name} reads; choose fewer"
            )
        own = len(slot.tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids)
        if around + own > slot.window and long_captions == "truncate":
            raise BadInput(
                f"the text has {own} tokens, and {slot.name} reads {slot.window}, of which the templates take up to "
                f"{around}: shorten it, or add {flag('long_captions', 'chunk')}, which reads all of it in several "
                "windows"
            )


def planned_file(config: TrainConfig, output: str | None, overwrite: bool) -> Path:
    """Where the embedding goes: `output`, a file or folder, or the present folder; raises BadInput as `convert`."""
    path = place(Embedding(config.concept.token, {}), Path(), ".safetensors", output)
    check_free([path], overwrite)
    return path


def distillation_text(distilled: Distilled) -> str:
    """What the command prints of how the rows were learned: the first and the last losses of each stage."""
    lines = [f"  from the words '{distilled.init}' in {distilled.seconds:.0f} s"]
    for name, losses in distilled.losses.items():
        few = max(1, len(losses) // 10)
        first, last = (sum(some) / few for some in (losses[:few], losses[-few:]))
        lines.append(f"  {name}: {len(losses)} steps, loss {first:.5f} -> {last:.5f}")
    return "\n".join(lines)


def save(distilled: Distilled, path: Path, overwrite: bool) -> Conversion:
    """Write the embedding for WebUIs."""
    return write_as(distilled.embedding, "webui", path.parent, str(path), overwrite=overwrite)
