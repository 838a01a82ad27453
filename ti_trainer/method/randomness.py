"""Every random draw is a function of where it is used."""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, *counters: int | str) -> torch.Generator:
    """A CPU generator whose draws depend on the seed and on all counters, and on nothing else.

    Counters say where the draw is used: a concept's token, the step, the index in the batch. So a resumed run, another
    number of processes or a neighbour in the batch changes no draw.
    """
    place = repr((seed, *counters)).encode()
    digest = hashlib.blake2b(place, digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
