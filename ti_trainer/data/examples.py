"""What a concept is learned from: pictures, their captions and their masks."""

from __future__ import annotations

from dataclasses import dataclass

from .images import Picture


@dataclass(frozen=True)
class MaskSource:
    """Where the mask of a picture lies: in a picture of its own, or in the alpha channel of that picture."""

    picture: Picture
    is_alpha: bool = False


@dataclass(frozen=True)
class Example:
    """A picture, and the captions of which each draw takes one; {token} stands for the concept's token."""

    picture: Picture
    captions: tuple[str, ...]
    size: tuple[int, int]  # width, height of the upright picture
    repeats: int = 1  # how often it counts among the pictures of its concept
    weight: float = 1.0  # of its loss
    mask: MaskSource | None = None  # `masks.read_mask` reads it
    # A picture of the class ("dogs") instead of the concept ("my dog"). Its captions name the token as well, because a
    # caption without it gives the rows no gradient: at a low weight such pictures keep what the word shares with its
    # class. It is no measure of what the concept looks like, so validation leaves it out.
    is_class: bool = False
