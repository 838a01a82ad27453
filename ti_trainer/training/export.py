"""From rows to files that WebUIs and diffusers load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

import torch
from torch import Tensor

from .. import __version__
from ..config.config import TrainConfig
from ..config.settings import config_to_mapping, marked
from ..config.sharing import TODAY
from ..embedding_files import Embedding, read_embedding, write_embedding
from ..embedding_files.metadata import embedding_metadata
from ..families import Family
from ..files.names import token_of_step
from ..runs.folder import RunFolder
from .prepare import Session


def export_embedding(
    session: Session, folder: RunFolder, rows: Mapping[str, Tensor], step: int, thumbnail: str | None = None
) -> None:
    """Write a concept's files and read them back; rows: {slot: (n, D)}, those of `step`; thumbnail: a data URI."""
    embedding = embedding_of(session, session.config.concept.trigger, rows, step)
    if thumbnail:
        embedding = replace(embedding, metadata={**embedding.metadata, "modelspec.thumbnail": thumbnail})
    places = {"webui": folder.files.embedding, "diffusers": folder.files.diffusers_embedding()}
    for layout, path in places.items():
        write_and_read_back(embedding, path, layout)


def export_step(session: Session, folder: RunFolder, rows: Mapping[str, Tensor], step: int) -> None:
    """Write the rows of a step as an embedding of their own; the step is part of its token, as of the file's name."""
    token = token_of_step(session.config.concept.trigger, step)
    write_and_read_back(embedding_of(session, token, rows, step), folder.files.embedding_of_step(step), "webui")


def embedding_of(session: Session, token: str, rows: Mapping[str, Tensor], step: int) -> Embedding:
    """The rows of a step, with all that is to be told of them."""
    vectors = {slot: own.cpu() for slot, own in rows.items()}
    return Embedding(token, vectors, describe_session(session, token, step, session.data_hash))


def write_and_read_back(embedding: Embedding, path: Path, layout: str) -> None:
    write_embedding(embedding, path, layout)
    written = read_embedding(path).fit(embedding.widths)
    if not all(torch.equal(written[slot], rows) for slot, rows in embedding.vectors.items()):
        raise RuntimeError(f"{path} does not hold what was written into it")


def describe_session(session: Session, token: str, step: int, data_hash: str | None = None) -> dict[str, str]:
    """The metadata of the rows of a step, under a token."""
    return describe_origin(
        session.config, session.family, session.num_vectors, session.resolution, step, token, data_hash=data_hash
    )


def describe_origin(
    config: TrainConfig,
    family: Family,
    num_vectors: int,
    resolution: int,
    step: int,
    token: str,
    data_hash: str | None = None,
    text: str | None = None,
) -> dict[str, str]:
    """The metadata of rows that were learned on a model, from pictures or from a text."""
    concept = config.concept
    model = Path(config.model)
    settings = config_to_mapping(config)
    return embedding_metadata(
        token=token,
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
        sharing=told_by_its_maker(config),
    )


def told_by_its_maker(config: TrainConfig) -> dict[str, str]:
    """What whoever trains wants to be said in the file, by its name in ModelSpec."""
    day = date.today().isoformat() if config.date == TODAY else config.date
    told = {
        "description": config.description,
        "author": config.author,
        "license": config.license,
        "tags": ",".join(config.tags),
        "date": day,
    }
    return {name: text for name, text in told.items() if text}
