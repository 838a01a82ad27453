"""Texts as encoders read them that have no rows: each is read once and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch

from ..method.tokens import ROW
from .conditioning import Conditioning
from .slots import TextSlot
from .windows import first_windows

MOST = 64  # texts that are kept of an encoder: a T5's of 512 tokens have 4 MB each in half precision


class PlainTexts:
    """What encoders without rows make of captions, which is the same at every step."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], Conditioning] = OrderedDict()

    def read(self, slot: TextSlot, texts: Sequence[str]) -> Conditioning:
        """Texts with ROW where a row belongs, which is left out -> context (B, L, D), pooled (B, P), mask (B, L).

        A text is read by itself, so that its numbers do not depend on which others are known already.
        """
        read = [self.read_one(slot, text.replace(ROW, "")) for text in texts]
        pooled = [text.pooled for text in read if text.pooled is not None]
        masks = [text.mask for text in read if text.mask is not None]
        return Conditioning(
            torch.cat([text.context for text in read]),
            torch.cat(pooled) if pooled else None,
            torch.cat(masks) if masks else None,
        )

    @torch.no_grad()
    def read_one(self, slot: TextSlot, text: str) -> Conditioning:
        """The same of one text without rows; the text that was asked for longest ago makes room."""
        key = (slot.name, text)
        if key not in self._known:
            self._known[key] = slot.read(first_windows(slot, [text]))
        self._known.move_to_end(key)
        if sum(name == slot.name for name, _ in self._known) > MOST:
            del self._known[next(known for known in self._known if known[0] == slot.name)]
        return self._known[key]
