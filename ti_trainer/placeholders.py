"""The only trainable thing: the rows of the placeholders, and the embedding that puts them in their places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .captions import row_names
from .config import Concept


class PlaceholderEmbedding(nn.Module):
    """Token ids (B, T) -> embeddings (B, T, D): the frozen table, with our rows put in their places.

    The rows are borrowed, not owned: `encoder.to(bf16)`, `encoder.state_dict()` and `encoder.parameters()` never see
    them. They may be written over (`Placeholders.load`) but not replaced.
    """

    row_of_id: Tensor

    def __init__(self, frozen: nn.Embedding, ids: Sequence[int], rows: nn.Parameter) -> None:
        """ids: for each row the token id whose place it takes, also one of the frozen table's; rows: (R, D)."""
        super().__init__()
        self.frozen = frozen
        self._borrowed = (rows,)
        row_of_id = torch.full((max(frozen.num_embeddings, max(ids) + 1),), -1)
        row_of_id[torch.tensor(ids)] = torch.arange(len(ids))
        self.register_buffer("row_of_id", row_of_id.to(rows.device), persistent=False)

    @property
    def weight(self) -> Tensor:
        """The frozen table (V, D), as other code expects it of an embedding."""
        return self.frozen.weight

    def forward(self, ids: Tensor) -> Tensor:
        (rows,) = self._borrowed
        row = self.row_of_id[ids]  # (B, T), -1 where no row of ours belongs
        ours = row >= 0
        known = self.frozen(ids.masked_fill(ours, 0))  # (B, T, D)
        learned = F.embedding(row.clamp(min=0), rows)  # (B, T, D) float32
        return torch.where(ours[..., None], learned.to(known.dtype), known)


class Placeholders(nn.Module):
    """Owns the rows of all concepts: for each slot one float32 parameter (R, D).

    names:  {token: names of its rows, as they stand in expanded captions}; none for a tuned word
    spans:  {token: {slot: which rows are this concept's}}
    """

    def __init__(self, concepts: Sequence[Concept], initial: Sequence[Mapping[str, Tensor]]) -> None:
        """initial: for each concept {slot: (n, D)}."""
        super().__init__()
        slots = list(initial[0])
        self.rows = nn.ParameterDict(
            {slot: nn.Parameter(torch.cat([rows[slot].float() for rows in initial])) for slot in slots}
        )
        self.names: dict[str, tuple[str, ...]] = {}
        self.spans: dict[str, dict[str, slice]] = {}
        starts = dict.fromkeys(slots, 0)
        for concept, rows in zip(concepts, initial, strict=True):
            self.spans[concept.token] = {slot: slice(starts[slot], starts[slot] + len(rows[slot])) for slot in slots}
            starts = {slot: starts[slot] + len(rows[slot]) for slot in slots}
            if not concept.tune:
                self.names[concept.token] = row_names(concept.token, len(rows[slots[0]]))

    def vectors(self, token: str) -> dict[str, Tensor]:
        """A copy of one concept's rows, {slot: (n, D)} float32 on the CPU."""
        return {slot: self.rows[slot].detach()[span].cpu().clone() for slot, span in self.spans[token].items()}

    def snapshot(self) -> dict[str, Tensor]:
        """A copy of all rows, {slot: (R, D)}."""
        return {slot: rows.detach().clone() for slot, rows in self.rows.items()}

    @torch.no_grad()
    def load(self, rows: Mapping[str, Tensor]) -> None:
        """Write a snapshot over the rows."""
        for slot, values in rows.items():
            self.rows[slot].copy_(values)

    @contextmanager
    def holding(self, rows: Mapping[str, Tensor]) -> Iterator[None]:
        """The rows of a snapshot inside the block, the present ones after it."""
        present = self.snapshot()
        self.load(rows)
        try:
            yield
        finally:
            self.load(present)
