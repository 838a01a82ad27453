"""What a picture can show, and the combinations that no training picture shows."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

COLOURS = {
    "red": (214, 40, 40),
    "orange": (246, 134, 24),
    "yellow": (250, 216, 40),
    "green": (56, 160, 62),
    "blue": (40, 92, 222),
    "purple": (134, 56, 186),
    "pink": (250, 142, 192),
    "brown": (122, 74, 38),
    "black": (36, 36, 42),
    "white": (245, 245, 241),
}
# Every object has one part that a caption can colour: "a cat with a blue collar".
ACCENT_PART = {
    "cat": "collar",
    "dog": "scarf",
    "bird": "hat",
    "fish": "fins",
    "house": "roof",
    "car": "wheels",
    "boat": "sail",
    "mushroom": "stem",
    "tree": "trunk",
    "flower": "centre",
    "star": "badge",
    "heart": "bow",
}
OBJECTS = tuple(ACCENT_PART)
PATTERNS = ("plain", "striped", "spotted")
SIZES = ("small", "large")
PLACES = ("left", "centre", "right")
SCENES = ("plain", "grass", "snow", "night", "beach", "sunset")


@dataclass(frozen=True)
class Description:
    """Everything that a picture shows; `drawing.draw` only varies position, proportions and shades."""

    object: str
    colour: str
    pattern: str
    accent: str | None
    size: str
    place: str
    scene: str
    backdrop: str  # the wall's colour when the scene is plain

    def identity(self) -> tuple[str, str, str, str | None]:
        """Object, colour, pattern and accent, which together tell one creature from all others."""
        return self.object, self.colour, self.pattern, self.accent


# The creatures that Textual Inversion has to learn; no training picture of the model shows one of them.
HELD_OUT = {
    "my-cat": ("cat", "orange", "striped", "blue"),
    "my-dog": ("dog", "white", "spotted", "red"),
    "my-bird": ("bird", "yellow", "spotted", "purple"),
    "my-fish": ("fish", "purple", "striped", "yellow"),
    "my-house": ("house", "green", "striped", "red"),
    "my-car": ("car", "blue", "spotted", "yellow"),
    "my-boat": ("boat", "red", "striped", "green"),
    "my-mushroom": ("mushroom", "brown", "spotted", "pink"),
    "my-tree": ("tree", "pink", "striped", "white"),
}

# Others to report figures on, where settings were chosen on the held-out ones; the model may have seen these.
OTHERS = {
    "my-star": ("star", "purple", "spotted", "yellow"),
    "my-heart": ("heart", "green", "striped", "orange"),
    "my-flower": ("flower", "white", "striped", "blue"),
}
CREATURES = HELD_OUT | OTHERS


def draw_description(rng: random.Random) -> Description:
    """A random description that is not held out."""
    while True:
        description = Description(
            object=rng.choice(OBJECTS),
            colour=rng.choice(list(COLOURS)),
            pattern=rng.choices(PATTERNS, (4, 3, 3))[0],
            accent=rng.choice(list(COLOURS)) if rng.random() < 0.75 else None,
            size=rng.choices(SIZES, (1, 2))[0],
            place=rng.choices(PLACES, (1, 2, 1))[0],
            scene=rng.choices(SCENES, (6, 3, 3, 3, 3, 3))[0],
            backdrop=rng.choice(list(COLOURS)),
        )
        invisible = description.accent == description.colour or (
            description.scene == "plain" and description.backdrop in (description.colour, description.accent)
        )
        if not invisible and description.identity() not in HELD_OUT.values():
            return description


def held_out_description(name: str, scene: str, rng: random.Random) -> Description:
    """The creature `name`, a key of CREATURES, in a scene; everything else is random."""
    thing, colour, pattern, accent = CREATURES[name]
    walls = [c for c in COLOURS if c not in (colour, accent)]
    return replace(
        draw_description(rng),
        object=thing,
        colour=colour,
        pattern=pattern,
        accent=accent,
        scene=scene,
        backdrop=rng.choice(walls),
    )
