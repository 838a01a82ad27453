"""The only trainable thing: the rows of the concepts' tokens, and the embedding that puts them in their places."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .tokens import expand

NOBODY = ""  # owner of captions in which every token is an ordinary word

Rows = dict[str, nn.Parameter]  # of a concept, {slot: (n, D)} float32, as many for each slot


class Placeholders:
    """The rows of all concepts that are present, each concept's in parameters of its own.

    Concepts come and go while others are trained: the number of a row is its place among the rows that are present.
    Rows are found by the name of their owner, since two concepts of one run may have the same token.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device
        self.present: dict[str, tuple[str, Rows]] = {}  # owner -> token, rows

    def add(self, token: str, initial: Mapping[str, Tensor], owner: str | None = None) -> Rows:
        """Add the rows of a concept and return them.

        token: in captions; initial: {slot: (n, D)}, which are copied; owner: the name of the concept, by default the
        token. Raises ValueError when there is an owner of that name.
        """
        owner = owner or token
        if owner in self.present:
            raise ValueError(f"'{owner}' is present already")
        rows = {
            slot: nn.Parameter(values.detach().to(self.device, torch.float32, copy=True))
            for slot, values in initial.items()
        }
        self.present[owner] = (token, rows)
        return rows

    def remove(self, owner: str) -> None:
        """Take a concept's rows out; the numbers of rows behind them move up. Raises KeyError."""
        del self.present[owner]

    def table(self, slot: str) -> Tensor:
        """The rows of all present concepts, by number, (R, D); its gradient goes to each concept's own rows."""
        return torch.cat([rows[slot] for _, rows in self.present.values()])

    def numbers(self) -> dict[str, range]:
        """The numbers of each concept's rows, by owner."""
        numbers = {}
        start = 0
        for owner, (_, rows) in self.present.items():
            count = len(next(iter(rows.values())))
            numbers[owner] = range(start, start + count)
            start += count
        return numbers

    def expand(self, caption: str, owner: str | None = None) -> tuple[str, list[int]]:
        """`tokens.expand` with the rows of one concept; owner None: of all that are present; NOBODY: without any."""
        numbers = self.numbers()
        owners = self.present if owner is None else [owner] if owner != NOBODY else []
        return expand(caption, {self.present[each][0]: numbers[each] for each in owners})


class PlaceholderEmbedding(nn.Module):
    """Token ids (B, T) -> embeddings (B, T, D): of the frozen table, and for higher ids of the rows, by number.

    With V entries in the table, id V + r is row r. The rows are float32 and cast to the table's type when they are
    read. They are borrowed, not owned: `encoder.to(bf16)`, `encoder.state_dict()` and `encoder.parameters()` never see
    them.
    """

    def __init__(self, frozen: nn.Embedding, slot: str, placeholders: Placeholders) -> None:
        super().__init__()
        self.frozen = frozen
        self.slot = slot
        self._borrowed = (placeholders,)

    @property
    def weight(self) -> Tensor:
        """The frozen table (V, D), as other code expects it of an embedding."""
        return self.frozen.weight

    @property
    def first(self) -> int:
        """The id of row 0."""
        return self.frozen.num_embeddings

    def forward(self, ids: Tensor) -> Tensor:
        (placeholders,) = self._borrowed
        if not placeholders.present:
            return self.frozen(ids)
        row = ids - self.first  # (B, T), negative where a word of the table stands
        ours = row >= 0
        known = self.frozen(ids.masked_fill(ours, 0))  # (B, T, D)
        learned = F.embedding(row.clamp(min=0), placeholders.table(self.slot))  # (B, T, D) float32
        return torch.where(ours[..., None], learned.to(known.dtype), known)
