"""What a concept is learned from: pictures, their captions and their masks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from ..config.concept import Concept
from ..embedding_files.read import further_files
from ..method.initializers import Start, split_init
from .images import Picture


@dataclass(frozen=True)
class MaskSource:
    """Where the mask of a picture lies: in a file of its own, or in the alpha channel of the picture."""

    picture: Picture
    is_alpha: bool = False


@dataclass(frozen=True)
class Example:
    """A picture with its captions, of which each draw takes one; {token} stands for the concept's token."""

    picture: Picture
    captions: tuple[str, ...]
    size: tuple[int, int]  # width, height of the upright picture
    repeats: int = 1  # how many times it counts among the pictures of its concept
    weight: float = 1.0  # of its loss
    mask: MaskSource | None = None  # `masks.read_mask` reads it
    # A picture of the class ("a dog") and not of the concept ("my dog"). With a low weight, such pictures keep what the
    # concept has in common with its class. Their captions mention the token too, because the rows get no gradient from
    # a caption without it. Validation leaves them out, because they do not show the concept.
    is_class: bool = False
    digest: bytes = b""  # SHA-256 of the picture's file, as it was when it was looked at


def start_of(concept: Concept) -> Start:
    """Where the rows of a concept are asked to start; raises BadInput for a file that may not be read for it."""
    init = concept.init
    kind, path = split_init(init)
    if kind == "file":
        file = concept.reach.resolve(path)
        if str(file) not in (concept.reach.roots or ()):  # whoever opens a file by its name opens those beside it too
            for each in further_files(file):
                concept.reach.resolve(each)
        init = f"file:{file}"
    return Start(concept.token, init, concept.num_vectors, concept.tune)


def data_hash(examples: Sequence[Example]) -> str:
    """The sha256 of all pictures and captions: the same for the same data, wherever they lie."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(example.digest)
        digest.update("\n".join(example.captions).encode() + b"\0")
    return digest.hexdigest()
