"""The outlines of the twelve objects, as polygons in a square from (-1, -1) to (1, 1), y downwards."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

Points = list[tuple[float, float]]
Fill = tuple[int, int, int] | str  # a colour, or "dark": a darker shade of the body's colour
Part = tuple[Points, Fill]

INK = (24, 22, 26)
PAPER = (250, 250, 250)


@dataclass(frozen=True)
class Figure:
    """The layers of an object; from back to front they are behind, body, accent and details."""

    body: list[Points]  # it has the object's colour and pattern
    accent: list[Points]
    behind: list[Part]
    details: list[Part]
    worn: bool  # without a colour the accent is left out, like a hat; otherwise it is then grey, like a roof


def ellipse(x: float, y: float, rx: float, ry: float, start: float = 0.0, stop: float = 1.0) -> Points:
    """An ellipse around (x, y), or the part of it between two fractions of a turn."""
    count = 24
    angles = [2 * math.pi * (start + (stop - start) * i / count) for i in range(count + 1)]
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]


def box(left: float, top: float, right: float, bottom: float) -> Points:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def eye(x: float, y: float, radius: float) -> list[Part]:
    return [(ellipse(x, y, radius, radius), PAPER), (ellipse(x + 0.02, y, 0.6 * radius, 0.6 * radius), INK)]


Jitter = Callable[[], float]  # gives random numbers near 1, for the proportions of one picture's object


def cat(j: Jitter) -> Figure:
    body = [
        ellipse(0, 0.55, 0.5 * j(), 0.43),
        [(0.3, 0.85), (0.78, 0.6), (0.8, 0.05), (0.98, 0.08), (0.98, 0.7), (0.45, 0.98)],
        [(-0.56, -0.3), (-0.54, -1.0), (-0.08, -0.7)],
        [(0.56, -0.3), (0.54, -1.0), (0.08, -0.7)],
        ellipse(0, -0.38, 0.58 * j(), 0.46),
    ]
    details = eye(-0.22, -0.45, 0.13) + eye(0.2, -0.45, 0.13) + [([(-0.1, -0.25), (0.1, -0.25), (0, -0.12)], INK)]
    return Figure(body, [[(-0.48, 0.02), (0.48, 0.02), (0.44, 0.32), (-0.44, 0.32)]], [], details, True)


def dog(j: Jitter) -> Figure:
    body = [
        ellipse(-0.18, 0.25, 0.62 * j(), 0.34),
        box(-0.7, 0.3, -0.42, 0.98),
        box(0.08, 0.3, 0.36, 0.98),
        [(-0.7, 0.15), (-1.0, -0.4), (-0.84, -0.46), (-0.54, 0.0)],
        [(0.05, 0.2), (0.2, -0.4), (0.66, -0.3), (0.42, 0.4)],
        ellipse(0.46, -0.48, 0.38 * j(), 0.34),
        ellipse(0.78, -0.36, 0.22, 0.18),
    ]
    nose: Part = (ellipse(0.94, -0.4, 0.09, 0.08), INK)
    ear: Part = (ellipse(0.16, -0.4, 0.15, 0.34), "dark")
    band = [(0.02, -0.12), (0.24, -0.26), (0.7, 0.0), (0.66, 0.26)]
    end = [(0.4, 0.3), (0.36, 0.62), (0.14, 0.58), (0.14, 0.14)]
    return Figure(body, [band + end], [], [nose, ear, *eye(0.56, -0.56, 0.11)], True)


def bird(j: Jitter) -> Figure:
    beak: Part = ([(0.6, -0.36), (1.0, -0.16), (0.6, -0.02)], (242, 160, 20))
    legs: list[Part] = [(box(-0.14, 0.6, -0.04, 1.0), (200, 120, 20)), (box(0.14, 0.6, 0.24, 1.0), (200, 120, 20))]
    body = [
        [(-0.5, 0.15), (-1.0, -0.1), (-0.92, 0.4), (-0.4, 0.55)],
        ellipse(0, 0.28, 0.62 * j(), 0.5),
        ellipse(0.36, -0.22, 0.4, 0.36),
    ]
    crown = [(0.12, -0.54), (0.2, -1.0), (0.6, -1.0), (0.64, -0.54)]
    brim = [(0.84, -0.54), (0.84, -0.4), (-0.12, -0.4), (-0.06, -0.54)]
    return Figure(body, [crown + brim], [*legs, beak], eye(0.48, -0.22, 0.11), True)


def fish(j: Jitter) -> Figure:
    body = [[(-0.35, 0), (-1.0, -0.5), (-0.84, 0), (-1.0, 0.5)], ellipse(0.15, 0, 0.8 * j(), 0.5 * j())]
    fins = [
        [(-0.3, -0.3), (0.0, -0.86), (0.44, -0.84), (0.5, -0.3)],
        [(-0.2, 0.36), (0.0, 0.84), (0.36, 0.8), (0.36, 0.36)],
    ]
    return Figure(body, fins, [], eye(0.62, -0.1, 0.13), True)


def house(j: Jitter) -> Figure:
    door: Part = (box(-0.18, 0.35, 0.18, 0.98), (70, 50, 40))
    glass = (190, 226, 250)
    windows: list[Part] = [(box(-0.62, 0.12, -0.32, 0.42), glass), (box(0.32, 0.12, 0.62, 0.42), glass)]
    roof = [(-1.0, -0.08), (-0.5, -0.9 * j()), (0.5, -0.9 * j()), (1.0, -0.08)]
    return Figure([box(-0.8, -0.1, 0.8, 0.98)], [roof], [], [door, *windows], False)


def car(j: Jitter) -> Figure:
    body = [box(-1.0, 0.0, 1.0, 0.58), [(-0.7, 0.05), (-0.42, -0.58 * j()), (0.36, -0.58 * j()), (0.7, 0.05)]]
    glass: list[Part] = [
        ([(-0.5, -0.04), (-0.3, -0.44), (-0.06, -0.44), (-0.06, -0.04)], (200, 232, 250)),
        ([(0.06, -0.04), (0.06, -0.44), (0.28, -0.44), (0.48, -0.04)], (200, 232, 250)),
    ]
    wheels = [ellipse(-0.52, 0.62, 0.33, 0.33), ellipse(0.52, 0.62, 0.33, 0.33)]
    return Figure(body, wheels, [], glass, False)


def boat(j: Jitter) -> Figure:
    mast: Part = (box(-0.1, -1.0, 0.02, 0.4), (90, 60, 34))
    hull = [(-1.0, 0.25), (1.0, 0.25), (0.66, 0.95), (-0.66, 0.95)]
    return Figure([hull], [[(0.06, -0.98), (0.06, 0.14), (0.95 * j(), 0.14)]], [mast], [], False)


def mushroom(j: Jitter) -> Figure:
    stem = [(-0.28, 0.1), (0.28, 0.1), (0.4, 0.97), (-0.4, 0.97)]
    return Figure([ellipse(0, 0.14, 0.95 * j(), 1.05, 0.5, 1.0)], [stem], [], [], False)


def tree(j: Jitter) -> Figure:
    crown = [
        ellipse(0, -0.52, 0.54 * j(), 0.46),
        ellipse(-0.42, -0.08, 0.5, 0.42 * j()),
        ellipse(0.42, -0.08, 0.5 * j(), 0.42),
    ]
    return Figure(crown, [[(-0.2, 0.26), (0.2, 0.26), (0.26, 0.98), (-0.26, 0.98)]], [], [], False)


def flower(j: Jitter) -> Figure:
    turn = 3 * j()
    middles = [(turn + k * math.pi / 3) for k in range(6)]
    petals = [ellipse(0.46 * math.cos(a), -0.32 + 0.46 * math.sin(a), 0.32, 0.32) for a in middles]
    stem: Part = (box(-0.07, 0.2, 0.07, 1.0), (60, 120, 60))
    leaf: Part = (ellipse(0.32, 0.72, 0.28, 0.13), (60, 130, 60))
    return Figure(petals, [ellipse(0, -0.32, 0.32, 0.32)], [stem, leaf], [], False)


def star(j: Jitter) -> Figure:
    inner = 0.5 * j()
    turn = -math.pi / 2 + (j() - 1) * 1.5
    radii = [1.0 if k % 2 == 0 else inner for k in range(10)]
    turns = [turn + k * math.pi / 5 for k in range(10)]
    points = [(r * math.cos(a), 0.05 + r * math.sin(a)) for r, a in zip(radii, turns, strict=True)]
    return Figure([points], [ellipse(0, 0.05, 0.4, 0.4)], [], [], True)


def heart(j: Jitter) -> Figure:
    turns = [2 * math.pi * i / 36 for i in range(36)]
    waves = [13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t) for t in turns]
    outline = [(0.98 * j() * math.sin(t) ** 3, -w / 17.0) for t, w in zip(turns, waves, strict=True)]
    bow = [(0, -0.24), (-0.52, -0.54), (-0.52, 0.14), (0, -0.1), (0.52, 0.14), (0.52, -0.54)]
    return Figure([outline], [bow], [], [], True)


SHAPES: dict[str, Callable[[Jitter], Figure]] = {
    "cat": cat,
    "dog": dog,
    "bird": bird,
    "fish": fish,
    "house": house,
    "car": car,
    "boat": boat,
    "mushroom": mushroom,
    "tree": tree,
    "flower": flower,
    "star": star,
    "heart": heart,
}
