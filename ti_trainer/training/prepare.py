"""From a config to everything that a step needs, checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from tqdm.auto import tqdm

from ..config.config import TrainConfig
from ..data.batches import ConceptData
from ..data.captions import CaptionPolicy
from ..data.examples import data_hash, start_of
from ..families import Family, borrow_family, load_family
from ..families.borrowing import Pipeline
from ..method.initializers import initial_rows
from ..method.placeholders import Rows
from ..reports.previews import Drawing, drawing_of_run
from . import preflight
from .gathering import Gathered, gather
from .model_masks import seek_masks


@dataclass(frozen=True)
class Session:
    """A concept that is ready to be trained on a frozen model, which others may share."""

    config: TrainConfig
    family: Family
    rows: Rows  # the family's placeholders know them under `data.owner`
    data: ConceptData
    drawing: Drawing  # what previews show
    warnings: tuple[str, ...]
    gathered: Gathered

    @property
    def resolution(self) -> int:
        """The side of the training pictures in pixels."""
        return self.gathered.framing.resolution

    @property
    def num_vectors(self) -> int:
        return len(next(iter(self.rows.values())))

    @property
    def data_hash(self) -> str:
        """The hash of pictures and captions."""
        return data_hash(self.data.examples)

    def close(self) -> None:
        """Take the rows out of the vocabulary, and delete the copies of pictures."""
        self.family.placeholders.remove(self.data.owner)
        self.gathered.close()


def take_model(config: TrainConfig, pipeline: Pipeline, device: torch.device) -> Family:
    """The frozen model of a loaded pipeline, which stays as it is; raises BadInput where no family fits it."""
    preflight.check_disk(config)
    return borrow_family(pipeline, config, device)


def load_model(config: TrainConfig, device: torch.device, dtype: torch.dtype) -> Family:
    """The frozen model; raises BadInput where it cannot be loaded or the machine is too small for it."""
    preflight.check_disk(config)
    preflight.check_weights(config)
    return load_family(config, device, dtype)


def prepare(config: TrainConfig, load: Callable[[], Family], owner: str = "", ahead: Gathered | None = None) -> Session:
    """Check everything, cheap things first; raises BadInput before anything is written.

    load: what gives the model, which is asked only when the pictures are good; owner: under which its placeholders are
    to know the concept; ahead: what was gathered for this config already.
    """
    preflight.check_trackers(config)
    concept = config.concept
    gathered = ahead or gather(config, load)
    family = load()
    examples = gathered.examples
    drawing = drawing_of_run(config, gathered.framing.resolution, family.pixels_per_latent)
    preflight.check_token_is_new(concept, family.slots)
    seek_masks(config, gathered, family)
    initial = initial_rows(start_of(concept), {slot.name: slot for slot in family.slots}, config.seed)
    warnings = [*gathered.warnings, *preflight.picture_warnings(examples, gathered.framing)]
    warnings += preflight.preview_warnings(concept, drawing.prompts)
    warnings += preflight.init_warnings(concept, family.slots[0])
    count = len(next(iter(initial.values())))
    preflight.check_vectors(concept, count)
    for slot in family.slots:
        warnings += preflight.check_captions(concept, examples, slot, count, config.long_captions)
    data = ConceptData(concept.token, examples, gathered.views, CaptionPolicy.of(concept), owner)
    rows = family.placeholders.add(concept.token, initial, owner)
    try:
        preflight.check_gradients(family, rows, data)
    except BaseException:
        family.placeholders.remove(data.owner)
        raise
    return Session(config, family, rows, data, drawing, tuple(dict.fromkeys(warnings)), gathered)


def encode_rest(session: Session) -> list[str]:
    """Encode every view that has not been needed yet; returns a line about a cache on disk, if there is one."""
    views = [view for shown in session.data.views for view in dict.fromkeys(shown)]
    waiting = [view for view in views if not view.is_encoded]
    for view in tqdm(waiting, desc=f"encoding {session.data.token}", leave=False, disable=None):
        view.encode()
    encoder = session.gathered.encoder
    encoder.forget()
    disk = encoder.disk
    return [f"latent cache: {disk.found} of {disk.asked} found"] if disk else []
