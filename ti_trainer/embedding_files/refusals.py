"""Files that look like embeddings but are something else, and what to do with each kind."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..errors import BadInput
from .content import Content
from .formats import ONLY_KEYS, SLOT_KEYS

MAX_TENSORS = 32  # of embeddings in one file; the smallest model has more


def is_optimizer_state(names: list[str]) -> bool:
    return "optimizer_state_dict" in names


def is_per_layer(names: list[str]) -> bool:
    return sum(bool(re.fullmatch(r"(IN|OUT)\d\d|MID", name)) for name in names) > 1


def has_output_vectors(names: list[str]) -> bool:
    return any(name.split(".")[-1] in {f"{key}_out" for key in (*SLOT_KEYS, *ONLY_KEYS)} for name in names)


def has_bundle(names: list[str]) -> bool:
    return any(name.startswith("bundle_emb.") for name in names)


def is_plain_lora(names: list[str]) -> bool:
    parts = [name for name in names if re.search(r"(^|[._])(lora|loha|hada|lokr|oft)[._]", name)]
    return len(parts) > 1 and not has_bundle(names)


def is_model(names: list[str]) -> bool:
    return not has_bundle(names) and (len(names) > MAX_TENSORS or "state_dict" in names)


# Whether the names in a file are those of the kind, and what the message says of it.
REFUSALS: tuple[tuple[Callable[[list[str]], bool], str], ...] = (
    (is_optimizer_state, "is the optimiser's state that A1111 keeps beside an embedding: give the .pt without .optim"),
    (is_per_layer, "is an XTI embedding, with vectors for each layer of the U-Net: no model here has a place for them"),
    (
        has_output_vectors,
        "holds output vectors (OneTrainer's 'output embedding'), which go behind the text encoder: export it from "
        "OneTrainer with that switched off",
    ),
    (is_plain_lora, "is a LoRA without an embedding in it: load it as a LoRA"),
    (is_model, "is a model, not an embedding"),
)


def check_kind(content: Content) -> None:
    """Raises BadInput, saying what the file is, if it is one of REFUSALS."""
    for is_kind, what in REFUSALS:
        if is_kind(content.names):
            raise BadInput(f"{content.path} {what}")
