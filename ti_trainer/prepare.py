"""From a config to everything that a step needs, checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tqdm import tqdm

from . import preflight
from .captions import CaptionPolicy, row_names
from .config import TrainConfig
from .data.batches import ConceptData
from .data.examples import Example
from .data.geometry import Framing, check_crop
from .data.latent_cache import LatentCache
from .data.latents import cache_views
from .data.scanning import load_examples
from .families import Family, load_family
from .initializers import initial_rows
from .optimizers import check_lr_schedule, get_optimizer
from .placeholders import Placeholders
from .processes import Processes
from .schedules import parse_timesteps
from .weightings import get_weighting


@dataclass(frozen=True)
class Session:
    """A frozen model with rows in it, and the cached data of every concept."""

    config: TrainConfig
    family: Family
    placeholders: Placeholders
    data: Sequence[ConceptData]  # one for each of config.concepts
    resolution: int
    warnings: Sequence[str]


def prepare(config: TrainConfig, processes: Processes) -> Session:
    """Check everything, cheap things first; raises BadInput before anything is written."""
    get_optimizer(config.optimizer)
    get_weighting(config.weighting)
    parse_timesteps(config.timesteps)
    check_crop(config.crop)
    check_lr_schedule(config.lr_schedule)
    warnings: list[str] = []
    examples = []

    def reading(things: Iterable[Any], count: int) -> Iterable[Any]:
        return tqdm(things, desc="reading pictures", total=count, leave=False, disable=not processes.is_main)

    for concept in config.concepts:
        found, notes = load_examples(concept, config.skip_bad_images, reading)
        examples.append(found)
        warnings += notes
    preflight.check_resources(config)

    family = load_family(config, processes.device, processes.dtype)
    resolution = preflight.check_resolution(config, family)
    bucket_step = family.bucket_step if config.buckets else None
    framing = Framing(resolution, bucket_step, config.crop, config.crops, config.flip, seed=config.seed)
    for concept in config.concepts:
        preflight.check_token_is_new(concept, family.slots)
    vocabularies = {slot.name: slot for slot in family.slots}
    starts = [initial_rows(concept, vocabularies, config.seed) for concept in config.concepts]
    placeholders = Placeholders(config.concepts, starts)
    family.install(placeholders)
    for concept, found in zip(config.concepts, examples, strict=True):
        warnings += preflight.picture_warnings(found, framing)
        for slot in family.slots:
            names = placeholders.names.get(concept.token, row_names(concept.token, 1))
            warnings += preflight.check_captions(concept, found, slot, names, config.long_captions)

    data, notes = cache_data(config, examples, family, framing, show_progress=processes.is_main)
    family.put_away_vae()
    preflight.check_gradients(family, placeholders, data)
    return Session(config, family, placeholders, data, resolution, list(dict.fromkeys([*warnings, *notes])))


def cache_data(
    config: TrainConfig, examples: Sequence[Sequence[Example]], family: Family, framing: Framing, show_progress: bool
) -> tuple[list[ConceptData], list[str]]:
    """The cached data of every concept, and a line about each thing worth knowing."""
    disk, data, notes = None, [], []
    if config.latent_cache:
        disk = LatentCache(config.latent_cache, family.vae_hash(), family.pixels_per_latent)
    for concept, found in zip(config.concepts, examples, strict=True):

        def progress(examples: Sequence[Example], label: str = concept.token) -> Iterable[Example]:
            return tqdm(examples, desc=f"encoding {label}", leave=False, disable=not show_progress)

        own = replace(framing, alpha_color=concept.alpha_color)
        views = cache_views(found, concept.token, own, config.mask_background, family, disk, progress)
        data.append(ConceptData(concept.token, found, views, CaptionPolicy.of(concept)))
        notes += [
            f"{example.picture.name}: what is shown of it has nothing of its mask; add --crop subject"
            for example, shown in zip(found, views, strict=True)
            if any(view.mask is not None and view.mask.max() <= config.mask_background for view in shown)
        ]
    if disk:
        notes.append(f"latent cache: {disk.found} of {disk.asked} found")
    return data, notes
