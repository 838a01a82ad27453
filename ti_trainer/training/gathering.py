"""What a concept is learned from, read and checked: the part of preparing that the device has nothing to do with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm.auto import tqdm

from ..config.concept import Concept
from ..config.config import TrainConfig
from ..data.checks import missed_subject
from ..data.examples import Example
from ..data.geometry import Framing
from ..data.latent_cache import LatentCache
from ..data.latents import CachedView, ViewEncoder, views_of
from ..data.scanning import Progress, load_examples
from ..data.sources.lists import ANY_COLUMNS, Columns
from ..data.sources.urls import fetch
from ..families import Family
from ..files.remote import is_remote
from . import preflight


@dataclass(frozen=True)
class Gathered:
    """Pictures with their captions and views, none of them encoded yet."""

    config: TrainConfig
    examples: Sequence[Example]
    views: Sequence[Sequence[CachedView]]
    encoder: ViewEncoder
    framing: Framing
    warnings: tuple[str, ...]
    scratch: TemporaryDirectory[str] | None  # holds copies of pictures that lie behind URLs

    def close(self) -> None:
        """Delete the copies of pictures."""
        if self.scratch:
            self.scratch.cleanup()


def reading(things: Iterable[Any], count: int) -> Iterable[Any]:
    return tqdm(things, desc="reading pictures", total=count, leave=False, disable=None)


def gather(config: TrainConfig, load: Callable[[], Family], progress: Progress = reading) -> Gathered:
    """Read pictures and captions and check them, before a model is loaded; raises BadInput.

    load: what gives the model, which is asked for nothing but its sizes.
    """
    concept = config.concept
    local, scratch = with_local_pictures(concept)
    examples, warnings = load_examples(local, config.skip_bad_images, progress)
    family = load()
    resolution = preflight.check_resolution(config, family)
    bucket_step = family.spec.bucket_step if config.buckets else None
    framing = Framing(
        resolution, bucket_step, config.crop, config.crops, config.flip, concept.alpha_color, seed=config.seed
    )
    encoder = ViewEncoder(family, concept.alpha_color, open_cache(config, family))
    views = views_of(examples, concept.token, framing, config.mask_background, encoder)
    for example, shown in zip(examples, views, strict=True):
        masks = [view.mask for view in shown]
        warnings += missed_subject(example.picture.name, masks, config.mask_background)
    return Gathered(config, examples, views, encoder, framing, tuple(warnings), scratch)


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


def open_cache(config: TrainConfig, family: Family) -> LatentCache | None:
    if not config.latent_cache:
        return None
    return LatentCache(config.latent_cache, family.vae_hash, family.pixels_per_latent)
