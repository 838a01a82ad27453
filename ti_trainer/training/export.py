"""From rows to files that WebUIs and diffusers load."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from .. import __version__
from ..config.config import TrainConfig
from ..config.settings import config_to_mapping, marked
from ..data.examples import Example
from ..embedding_files import Embedding, read_embedding, write_embedding
from ..embedding_files.metadata import embedding_metadata
from ..families import Family
from ..runs.folder import RunFolder
from .prepare import Session


def export_embedding(session: Session, folder: RunFolder, rows: Mapping[str, Tensor], step: int) -> None:
    """Write a concept's files and read them back; rows: {slot: (n, D)}, those of `step`."""
    vectors = {slot: own.cpu() for slot, own in rows.items()}
    told = describe_origin(
        session.config,
        session.family,
        session.num_vectors,
        session.resolution,
        step,
        data_hash=data_hash(session.data.examples),
    )
    embedding = Embedding(session.config.concept.trigger, vectors, told)
    widths = {slot: own.shape[1] for slot, own in vectors.items()}
    places = {"webui": folder.files.embedding, "diffusers": folder.files.diffusers_embedding()}
    for layout, path in places.items():
        write_embedding(embedding, path, layout)
        written = read_embedding(path).fit(widths)
        if not all(torch.equal(written[slot], vectors[slot]) for slot in vectors):
            raise RuntimeError(f"{path} does not hold what was written into it")


def describe_origin(
    config: TrainConfig,
    family: Family,
    num_vectors: int,
    resolution: int,
    step: int,
    data_hash: str | None = None,
    text: str | None = None,
) -> dict[str, str]:
    """The metadata of rows that were learned on a model, from pictures or from a text."""
    concept = config.concept
    model = Path(config.model)
    settings = config_to_mapping(config)
    return embedding_metadata(
        token=concept.trigger,
        num_vectors=num_vectors,
        step=step,
        architecture=family.spec.architecture,
        resolution=resolution,
        prediction_type=family.schedule.prediction_type,
        encoder_layer=family.spec.slots[0].encoder_layer,
        version=__version__,
        init="its own rows" if concept.tune else "file" if concept.init.startswith("file:") else concept.init,
        seed=config.seed,
        base_model=model.name if model.exists() else config.model,
        base_model_hash=family.fingerprint,
        negative=concept.negative,
        data_hash=data_hash,
        text=text,
        config={key: settings[key] for key in marked("exported", type(config))},
    )


def data_hash(examples: Sequence[Example]) -> str:
    """The sha256 of all pictures and captions: the same for the same data, wherever they lie."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(hashlib.sha256(example.picture.read()).digest())
        digest.update("\n".join(example.captions).encode() + b"\0")
    return digest.hexdigest()
