"""The table of embedding file formats; a new one is a function and a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Embedding:
    """A word and its vectors."""

    token: str
    vectors: Mapping[str, Tensor]  # slot -> (n, d) float32
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def num_vectors(self) -> int:
        return len(next(iter(self.vectors.values())))

    def fit(self, widths: Mapping[str, int]) -> dict[str, Tensor]:
        """STUB until the branch `files` is merged."""
        if len(widths) == 1:
            (slot,) = widths
            return {slot: next(iter(self.vectors.values()))}
        return {
            slot: self.vectors.get(slot) if len(self.vectors) > 1 else next(iter(self.vectors.values()))
            for slot in widths
        }


def webui(embedding: Embedding) -> dict[str, Tensor]:
    """A1111, Forge, ComfyUI, InvokeAI, kohya: the trigger is the file's name."""
    if len(embedding.vectors) > 1:
        return dict(embedding.vectors)
    (vectors,) = embedding.vectors.values()
    return {"emb_params": vectors}


def diffusers(embedding: Embedding) -> dict[str, Tensor]:
    """`load_textual_inversion`: the key is the token."""
    (vectors,) = embedding.vectors.values()
    return {embedding.token: vectors}


# the tensors of a file for an embedding with one text encoder
FORMATS: dict[str, Callable[[Embedding], dict[str, Tensor]]] = {"webui": webui, "diffusers": diffusers}
