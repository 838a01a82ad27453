"""From rows to files that WebUIs and diffusers load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from . import __version__
from .config import Concept, config_to_mapping
from .embedding_files import Embedding, read_embedding, write_embedding
from .embedding_files.metadata import embedding_metadata
from .prepare import Session
from .run_folder import RunFolder

# what a reader of the file may want to know about how it was trained; paths stay private
TOLD = (
    *("steps", "batch_size", "lr", "lr_schedule", "warmup_steps", "optimizer", "weight_decay", "max_grad_norm"),
    *("weighting", "resolution", "flip", "clip_skip", "seed"),
)


def export_embeddings(
    session: Session, folder: RunFolder, rows: Mapping[str, Tensor], steps: Mapping[str, int]
) -> dict[str, Path]:
    """Write every concept's files and read them back; rows: {slot: (R, D)}, steps: where each concept's come from.

    Returns {token: file for WebUIs}.
    """
    files = {}
    for concept in session.config.concepts:
        spans = session.placeholders.spans[concept.token]
        vectors = {slot: rows[slot][span].cpu() for slot, span in spans.items()}
        embedding = Embedding(concept.trigger, vectors, metadata(session, concept, steps[concept.token]))
        widths = {slot: own.shape[1] for slot, own in vectors.items()}
        for path, layout in (
            (folder.embedding(concept), "webui"),
            (folder.diffusers_embedding(concept), "diffusers"),
        ):
            write_embedding(embedding, path, layout)
            written = read_embedding(path).fit(widths)
            if not all(torch.equal(written[slot], vectors[slot]) for slot in vectors):
                raise RuntimeError(f"{path} does not hold what was written into it")
        files[concept.token] = folder.embedding(concept)
    return files


def metadata(session: Session, concept: Concept, step: int) -> dict[str, str]:
    settings = config_to_mapping(session.config)
    span = next(iter(session.placeholders.spans[concept.token].values()))
    return embedding_metadata(
        token=concept.trigger,
        num_vectors=span.stop - span.start,
        step=step,
        architecture=session.family.architecture,
        resolution=session.resolution,
        prediction_type=session.family.schedule.prediction_type,
        clip_skip=session.config.clip_skip,
        version=__version__,
        config={key: settings[key] for key in TOLD},
    )
