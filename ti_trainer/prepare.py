"""From a config to everything that a step needs, checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tqdm import tqdm

from . import preflight
from .bundled import resolve
from .captions import row_names
from .config import TrainConfig
from .data.batches import ConceptData
from .data.examples import load_examples
from .data.images import Picture
from .data.latents import cache_latents
from .families import Family, load_family
from .initializers import initial_rows
from .optimizers import check_lr_schedule, get_optimizer
from .placeholders import Placeholders
from .processes import Processes
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
    check_lr_schedule(config.lr_schedule)
    warnings: list[str] = []
    examples = []
    for concept in config.concepts:
        found, problems = load_examples(concept, resolve(concept.images), config.skip_bad_images)
        examples.append(found)
        warnings += [f"left out: {problem}" for problem in problems]
    preflight.check_resources(config)

    family = load_family(config, processes.device, processes.dtype)
    resolution = preflight.check_resolution(config, family)
    for concept in config.concepts:
        preflight.check_token_is_new(concept, family.slots)
    vocabularies = {slot.name: slot for slot in family.slots}
    starts = [initial_rows(concept, vocabularies, config.seed) for concept in config.concepts]
    placeholders = Placeholders(config.concepts, starts)
    family.install(placeholders)
    for concept, found in zip(config.concepts, examples, strict=True):
        warnings += preflight.picture_warnings(found, resolution)
        for slot in family.slots:
            names = placeholders.names.get(concept.token, row_names(concept.token, 1))
            preflight.check_captions(concept, found, slot, names)

    data = []
    for concept, found in zip(config.concepts, examples, strict=True):

        def progress(pictures: Sequence[Picture], label: str = concept.token) -> Iterable[Picture]:
            return tqdm(pictures, desc=f"encoding {label}", leave=False, disable=not processes.is_main)

        pictures = [example.picture for example in found]
        posteriors = cache_latents(pictures, resolution, config.flip, family.encode_images, progress)
        data.append(ConceptData(concept.token, found, posteriors, resolution))
    family.put_away_vae()
    preflight.check_gradients(family, placeholders, data)
    return Session(config, family, placeholders, data, resolution, warnings)
