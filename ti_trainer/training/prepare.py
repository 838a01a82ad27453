"""From a config to everything that a step needs, checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from tqdm.auto import tqdm

from ..config.concept import Concept
from ..config.config import TrainConfig
from ..data.batches import ConceptData
from ..data.captions import CaptionPolicy
from ..data.checks import missed_subject
from ..data.examples import data_hash, start_of
from ..data.geometry import Framing
from ..data.latent_cache import LatentCache
from ..data.latents import ViewEncoder, views_of
from ..data.scanning import load_examples
from ..data.sources.lists import ANY_COLUMNS, Columns
from ..data.sources.urls import fetch
from ..families import Family, borrow_family, load_family
from ..families.borrowing import Pipeline
from ..files.remote import is_remote
from ..method.initializers import initial_rows
from ..method.placeholders import Rows
from ..reports.previews import Drawing, drawing_of_run
from . import preflight


@dataclass(frozen=True)
class Session:
    """A concept that is ready to be trained on a frozen model, which others may share."""

    config: TrainConfig
    family: Family
    rows: Rows  # the family's placeholders know them under `data.owner`
    data: ConceptData
    encoder: ViewEncoder
    resolution: int
    drawing: Drawing  # what previews show
    warnings: tuple[str, ...]
    scratch: TemporaryDirectory[str] | None  # holds copies of pictures that lie behind URLs

    @property
    def num_vectors(self) -> int:
        return len(next(iter(self.rows.values())))

    @cached_property
    def data_hash(self) -> str:
        """The hash of pictures and captions, which reads all pictures once more."""
        return data_hash(self.data.examples)

    def close(self) -> None:
        """Take the rows out of the vocabulary, and delete the copies of pictures."""
        self.family.placeholders.remove(self.data.owner)
        if self.scratch:
            self.scratch.cleanup()


def take_model(config: TrainConfig, pipeline: Pipeline, device: torch.device) -> Family:
    """The frozen model of a loaded pipeline, which stays as it is; raises BadInput where no family fits it."""
    preflight.check_disk(config)
    return borrow_family(pipeline, config, device)


def load_model(config: TrainConfig, device: torch.device, dtype: torch.dtype) -> Family:
    """The frozen model; raises BadInput where it cannot be loaded or the machine is too small for it."""
    preflight.check_disk(config)
    preflight.check_weights(config)
    return load_family(config, device, dtype)


def prepare(config: TrainConfig, load: Callable[[], Family], owner: str = "") -> Session:
    """Check everything, cheap things first; raises BadInput before anything is written.

    load: what gives the model, which is asked only when the pictures are good; owner: under which its placeholders are
    to know the concept.
    """
    preflight.check_trackers(config)
    concept = config.concept
    local, scratch = with_local_pictures(concept)
    examples, warnings = load_examples(local, config.skip_bad_images, reading)
    family = load()
    resolution = preflight.check_resolution(config, family)
    drawing = drawing_of_run(config, resolution, family.pixels_per_latent)
    bucket_step = family.spec.bucket_step if config.buckets else None
    framing = Framing(
        resolution, bucket_step, config.crop, config.crops, config.flip, concept.alpha_color, seed=config.seed
    )
    preflight.check_token_is_new(concept, family.slots)
    initial = initial_rows(start_of(concept), {slot.name: slot for slot in family.slots}, config.seed)
    warnings += preflight.picture_warnings(examples, framing)
    warnings += preflight.preview_warnings(concept, drawing.prompts)
    warnings += preflight.init_warnings(concept, family.slots[0])
    count = len(next(iter(initial.values())))
    preflight.check_vectors(concept, count)
    for slot in family.slots:
        warnings += preflight.check_captions(concept, examples, slot, count, config.long_captions)
    encoder = ViewEncoder(family, concept.alpha_color, open_cache(config, family))
    views = views_of(examples, concept.token, framing, config.mask_background, encoder)
    for example, shown in zip(examples, views, strict=True):
        masks = [view.mask for view in shown]
        warnings += missed_subject(example.picture.name, masks, config.mask_background)
    data = ConceptData(concept.token, examples, views, CaptionPolicy.of(concept), owner)
    rows = family.placeholders.add(concept.token, initial, owner)
    try:
        preflight.check_gradients(family, rows, data)
    except BaseException:
        family.placeholders.remove(data.owner)
        raise
    return Session(config, family, rows, data, encoder, resolution, drawing, tuple(dict.fromkeys(warnings)), scratch)


def encode_rest(session: Session) -> list[str]:
    """Encode every view that has not been needed yet; returns a line about a cache on disk, if there is one."""
    views = [view for shown in session.data.views for view in dict.fromkeys(shown)]
    waiting = [view for view in views if not view.is_encoded]
    for view in tqdm(waiting, desc=f"encoding {session.data.token}", leave=False, disable=None):
        view.encode()
    session.encoder.forget()
    disk = session.encoder.disk
    return [f"latent cache: {disk.found} of {disk.asked} found"] if disk else []


def with_local_pictures(concept: Concept) -> tuple[Concept, TemporaryDirectory[str] | None]:
    """The concept with copies of what lies behind URLs, and the folder of the copies, if there are any."""
    columns = Columns(concept.image_column, concept.caption_column)
    others = {name: getattr(concept, name) for name in ("class_images", "masks") if getattr(concept, name)}
    if not any(map(is_remote, (*concept.images, *others.values()))):
        return concept, None
    scratch = TemporaryDirectory(prefix="ti-trainer-", ignore_cleanup_errors=True)
    folder = Path(scratch.name)

    def copied(name: str, place: str, named: Columns = ANY_COLUMNS) -> str:
        return fetch(place, folder, named, name, concept.reach) if is_remote(place) else place

    copies: dict[str, Any] = {name: copied(name, place) for name, place in others.items()}
    images = tuple(copied("images", place, columns) for place in concept.images)
    return replace(concept, images=images, **copies, reach=concept.reach.including(folder)), scratch


def reading(things: Iterable[Any], count: int) -> Iterable[Any]:
    return tqdm(things, desc="reading pictures", total=count, leave=False, disable=None)


def open_cache(config: TrainConfig, family: Family) -> LatentCache | None:
    if not config.latent_cache:
        return None
    return LatentCache(config.latent_cache, family.vae_hash, family.pixels_per_latent)
