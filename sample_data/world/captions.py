"""Captions from descriptions: of everything that a picture shows, or of a random part of it."""

from __future__ import annotations

import random

from .attributes import ACCENT_PART, Description

# {} stands for the object with its adjectives and what it wears.
FRAMES = (
    "a {}",
    "the {}",
    "{}",
    "a photo of a {}",
    "a photo of the {}",
    "the photo of a {}",
    "a photo of my {}",
    "a photo of one {}",
    "a picture of a {}",
    "an image of a {}",
    "a drawing of a {}",
    "an illustration of a {}",
    "a painting of a {}",
    "a rendering of a {}",
    "a rendition of a {}",
    "a rendition of the {}",
    "a depiction of a {}",
    "a cropped photo of a {}",
    "a cropped photo of the {}",
    "a close-up photo of a {}",
    "a close-up photo of the {}",
    "a good photo of a {}",
    "a good photo of the {}",
    "a bright photo of the {}",
    "a dark photo of the {}",
    "a photo of a nice {}",
    "a photo of the nice {}",
    "a photo of a cool {}",
    "a photo of the cool {}",
    "a photo of a clean {}",
    "a photo of the clean {}",
    "a photo of a dirty {}",
    "a photo of the weird {}",
    "my {}",
    "this {}",
    "a nice {}",
    "a photo of this {}",
    "a photo of {}",
    "a picture of {}",
)
PLAIN_FRAMES = FRAMES[:4]
SIZE_WORDS = {"small": ("small", "little"), "large": ("large", "big")}
PLACE_WORDS = {"left": ("on the left",), "right": ("on the right",), "centre": ("in the centre", "in the middle")}
SCENE_WORDS = {
    "grass": ("on grass", "on the grass", "on a lawn"),
    "snow": ("in the snow", "in snow"),
    "night": ("at night", "under the moon"),
    "beach": ("on the beach", "at the beach", "on a beach"),
    "sunset": ("at sunset", "in the sunset"),
}
BACKDROP_WORDS = ("on {} background", "in front of {} wall")


def with_article(words: str) -> str:
    """The words with "a" or "an" before them."""
    return ("an " if words[0] in "aeiou" else "a ") + words


def scene_words(description: Description, rng: random.Random | None = None) -> str:
    """Words for the scene: "on the beach", "on a red background"; the first ones, or with `rng` a random choice."""
    if description.scene == "plain":
        words = tuple(w.format(with_article(description.backdrop)) for w in BACKDROP_WORDS)
    else:
        words = SCENE_WORDS[description.scene]
    return rng.choice(words) if rng else words[0]


def noun_phrase(adjectives: list[str], thing: str, accent: str | None) -> str:
    """ "striped cat with a blue collar", without an article."""
    words = [*adjectives, thing]
    if accent:
        part = f"{accent} {ACCENT_PART[thing]}"
        words += ["with", part if part.endswith("s") else with_article(part)]
    return " ".join(words)


def identity_words(identity: tuple[str, str, str, str | None]) -> str:
    """ "striped orange cat with a blue collar": all parts of an identity, without an article."""
    thing, colour, pattern, accent = identity
    return noun_phrase([colour] if pattern == "plain" else [pattern, colour], thing, accent)


def full_caption(description: Description) -> str:
    """Everything but size and place, always in the same words."""
    return f"a photo of {with_article(identity_words(description.identity()))} {scene_words(description)}"


def random_caption(description: Description, rng: random.Random, thoroughness: float = 0.75) -> str:
    """A caption that names each thing with a chance of about `thoroughness`, in words chosen by `rng`."""
    adjectives = []
    if rng.random() < thoroughness * (1.0 if description.pattern != "plain" else 0.2):
        adjectives.append(description.pattern)
    if rng.random() < thoroughness:
        adjectives.append(description.colour)
    if rng.random() < 0.3:
        rng.shuffle(adjectives)
    if rng.random() < 0.3:
        adjectives.insert(0, rng.choice(SIZE_WORDS[description.size]))
    accent = description.accent if rng.random() < thoroughness else None
    phrase = noun_phrase(adjectives, description.object, accent)
    frame = rng.choice(PLAIN_FRAMES if rng.random() < 0.4 else FRAMES)
    if frame.endswith("a {}") and phrase[0] in "aeiou":
        frame = frame[:-4] + "an {}"
    words = [frame.format(phrase)]
    if rng.random() < thoroughness:
        words.append(scene_words(description, rng))
    if rng.random() < 0.2:
        words.append(rng.choice(PLACE_WORDS[description.place]))
    return " ".join(words)
