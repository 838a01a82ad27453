"""Pictures that are the same, or nearly the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..files.wording import listing
from .images import Decoded, on_ground

# Of 64 bits. A picture that is saved or scaled again differs in at most 10; different ones, in 14 or more.
NEAR_BITS = 10
# Of 255, mean over the thumbnail. Two pictures with the same shapes in other colours are different pictures.
NEAR_LEVELS = 8.0
# Of 255. On plain ground, smaller differences between neighbours are only JPEG's noise.
NOISE = 3


@dataclass(frozen=True)
class Fingerprint:
    """The features of a picture that are compared."""

    digest: bytes  # SHA-256 of the file
    gradients: int  # 64 bits
    colours: np.ndarray  # (8, 9, 3) levels


def fingerprint(decoded: Decoded) -> Fingerprint:
    """The difference hash of a picture (Krawetz, "Kind of Like That", hackerfactor.com 2013), and its thumbnail."""
    small = on_ground(decoded.image, "white").resize((9, 8), Image.Resampling.BOX)
    grey = np.asarray(small.convert("L")).astype(int)  # (8, 9)
    brighter = grey[:, 1:] > grey[:, :-1] + NOISE  # (8, 8)
    gradients = int.from_bytes(np.packbits(brighter).tobytes(), "big")
    return Fingerprint(decoded.digest, gradients, np.asarray(small).astype(np.int16))


@dataclass(frozen=True)
class Duplicates:
    """Groups of two or more pictures, by their numbers."""

    same: Sequence[Sequence[int]] = ()  # the same file
    alike: Sequence[Sequence[int]] = ()  # they look the same

    @property
    def numbers(self) -> set[int]:
        """Of all pictures that another one is like."""
        return {number for group in (*self.same, *self.alike) for number in group}

    def notes(self, names: Sequence[str]) -> list[str]:
        """A line for each group; names: of all pictures."""
        same = [
            f"{listing([names[i] for i in group])} are the same picture and count {len(group)} times"
            for group in self.same
        ]
        alike = [
            f"{listing([names[i] for i in group])} look alike and count {len(group)} times; keep the best one"
            for group in self.alike
        ]
        return same + alike


def find_duplicates(prints: Sequence[Fingerprint]) -> Duplicates:
    """The pictures that are the same file or look the same."""
    copies: dict[bytes, list[int]] = defaultdict(list)
    for index, each in enumerate(prints):
        copies[each.digest].append(index)
    distinct = [group[0] for group in copies.values()]
    alike = [[distinct[i] for i in group] for group in near_groups([prints[i] for i in distinct])]
    return Duplicates([group for group in copies.values() if len(group) > 1], alike)


def near_groups(prints: Sequence[Fingerprint]) -> list[list[int]]:
    """Groups of two or more indices that are connected by chains of near pairs."""
    if not prints:
        return []
    gradients = np.array([each.gradients for each in prints], dtype=np.uint64)  # (N,)
    colours = np.stack([each.colours for each in prints])  # (N, 8, 9, 3)
    group = list(range(len(prints)))
    for i in range(len(prints)):
        close = np.flatnonzero(np.bitwise_count(gradients[i + 1 :] ^ gradients[i]) <= NEAR_BITS) + i + 1
        close = close[np.abs(colours[close] - colours[i]).mean((1, 2, 3)) <= NEAR_LEVELS]
        for j in close.tolist():
            if group[j] != group[i]:
                old = group[j]
                new = group[i]
                group = [new if each == old else each for each in group]
    members: dict[int, list[int]] = defaultdict(list)
    for index, number in enumerate(group):
        members[number].append(index)
    return [indices for indices in members.values() if len(indices) > 1]
