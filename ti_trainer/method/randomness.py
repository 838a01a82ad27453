"""Random numbers that depend only on the seed and on the place where they are used, and not on what ran before."""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, *counters: int | str) -> torch.Generator:
    """A CPU generator whose state is a function of the seed and of all counters.

    counters: where the draws are used, such as a concept's token, the step and the index in the batch. So draws do not
    change when a run is resumed, with the number of processes, or with other concepts in the batch. The state is seeded
    with 63 bits of the BLAKE2b hash of seed and counters.
    """
    place = repr((seed, *counters)).encode()
    digest = hashlib.blake2b(place, digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
