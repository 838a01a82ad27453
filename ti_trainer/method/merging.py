"""Several embeddings as one: the means of their rows, or all their rows one after the other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from ..embedding_files import Embedding
from ..embedding_files.embedding import describe
from ..embedding_files.metadata import NEGATIVE, naming
from ..errors import BadInput
from ..files.names import MAX_VECTORS
from ..files.wording import flag
from .sphere_mean import mean_rows

# what is true of a merged embedding too where all that it was made of agree
KEPT = ("ti_trainer.base_model", "ti_trainer.base_model_hash")


def blend(embeddings: Sequence[Embedding], weights: Sequence[float] | None, token: str) -> Embedding:
    """Row by row the means of `mean_rows`; weights: one for each embedding, by default equal ones.

    Raises BadInput for embeddings of several families or numbers of vectors, and for weights that give no mean.
    """
    check_same_family(embeddings)
    counts = [each.num_vectors for each in embeddings]
    if len(set(counts)) > 1:
        told = ", ".join(f"{each.token} has {each.num_vectors}" for each in embeddings)
        raise BadInput(
            f"only equal numbers of vectors can be mixed row by row, and {told}: choose others, or "
            f"{flag('join', True)} puts all rows one after the other"
        )
    if weights is not None and len(weights) != len(embeddings):
        raise BadInput(
            f"{flag('weights')} are {len(weights)} numbers for {len(embeddings)} embeddings; give one for each"
        )
    shares = torch.tensor([1.0] * len(embeddings) if weights is None else weights, dtype=torch.float64)  # (K,)
    try:
        vectors = {
            slot: mean_rows(torch.stack([each.vectors[slot] for each in embeddings]), shares)  # (K, n, D) -> (n, D)
            for slot in embeddings[0].vectors
        }
    except ValueError as error:
        names = ", ".join(each.token for each in embeddings)
        given = "" if weights is None else f" with {flag('weights', ' '.join(f'{weight:g}' for weight in weights))}"
        raise BadInput(f"{names} cannot be mixed{given}: {error}; choose others, or {flag('join', True)}") from None
    return Embedding(token, vectors, told_of(embeddings, token, (shares / shares.sum()).tolist()))


def join(embeddings: Sequence[Embedding], token: str) -> Embedding:
    """All rows, those of each embedding behind those of the one before.

    Raises BadInput for embeddings of several families, and for more rows than a prompt has room for.
    """
    check_same_family(embeddings)
    count = sum(each.num_vectors for each in embeddings)
    if count > MAX_VECTORS:
        raise BadInput(f"that makes {count} vectors, and a prompt has room for {MAX_VECTORS}: join fewer embeddings")
    vectors = {
        slot: torch.cat([each.vectors[slot] for each in embeddings])  # (rows of all, D)
        for slot in embeddings[0].vectors
    }
    return Embedding(token, vectors, told_of(embeddings, token))


def check_same_family(embeddings: Sequence[Embedding]) -> None:
    """Raises BadInput where the embeddings are not for the same text encoders of the same model family."""
    first = embeddings[0]
    for other in embeddings[1:]:
        apart = first.families and not set(first.families) & set(other.families)
        if first.widths != other.widths or apart:
            raise BadInput(
                f"{first.token} has vectors for {describe(first.widths, first.families)}, and {other.token} for "
                f"{describe(other.widths, other.families)}: only embeddings of one model family can be merged"
            )


def told_of(embeddings: Sequence[Embedding], token: str, shares: Sequence[float] | None = None) -> dict[str, str]:
    """Metadata that say what an embedding was made of; shares: of each in the mean, None where they were joined."""
    first, *others = (each.metadata for each in embeddings)
    common = {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}
    parts = [
        {
            "token": each.token,
            "file": Path(each.source).name,
            "vectors": each.num_vectors,
            "hash": each.metadata.get("modelspec.hash_sha256", ""),
        }
        for each in embeddings
    ]
    for part, share in zip(parts, shares or (), strict=False):
        part["weight"] = round(share, 6)
    return {
        **{key: value for key, value in common.items() if key.startswith("modelspec.") or key in KEPT},
        **naming(token, common.get(NEGATIVE) == "true"),
        "ti_trainer.merge": "join" if shares is None else "mean",
        "ti_trainer.merged": json.dumps(parts),
    }
