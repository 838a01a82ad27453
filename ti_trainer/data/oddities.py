"""What is odd about what a picture shows: bars, nothing at all, no sharp place, a screen, a subject lost in it.

Each is measured on a small copy. Of the sharp squares of photographs of DreamBooth's data (Ruiz et al. 2023) none had
less than 15 levels of detail, and blurred by two of 512 pixels none more than 2.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

SIDE = 512  # pixels of the longer side of the copy: about what models see

BLANK = 8.0  # levels between the darkest and the brightest pixel: JPEG makes some of nothing
DULL = 24.0  # levels between the darkest and the brightest hundredth
BLACK = 24.0  # levels: darker is what bars are made of
BAR = 0.03  # of a side: thinner bars do no harm
LIT = 0.6  # of the line beside a bar: a dark picture fades, a bar ends
TILE = 32  # pixels of the squares of which the sharpest counts
SHARP = 4.0  # levels: how much pixels of that square differ from the mean of their neighbours
TINY = 0.03  # of the picture: what a subject fills that is too small to be seen in latents
GROUND = 24.0  # levels: nearer to the colour of the edge is ground
FLAT = 0.5  # of neighbours that are the same: drawn by a program, and not seen by a camera

# width, height of phones and of monitors, upright or lying
SCREENS = {
    *((750, 1334), (828, 1792), (1080, 2400), (1080, 2340), (1080, 2280), (1080, 2160), (1125, 2436), (1170, 2532)),
    *((1179, 2556), (1206, 2622), (1242, 2208), (1242, 2688), (1284, 2778), (1290, 2796), (1320, 2868), (1440, 2960)),
    *((1440, 3040), (1440, 3088), (1440, 3120), (1440, 3200), (720, 1280), (720, 1600), (1080, 1920), (1200, 1920)),
    *((768, 1366), (900, 1440), (900, 1600), (1050, 1680), (1440, 2560), (1600, 2560), (2160, 3840), (1664, 2560)),
    *((1600, 2880), (1800, 2880), (1964, 3024), (2234, 3456), (2880, 5120), (1536, 2048), (1640, 2360), (1668, 2388)),
}


def oddities(image: Image.Image, size: tuple[int, int]) -> list[str]:
    """What is odd about an RGB picture, each with its cure; size: before it was made smaller.

    A picture that shows nothing is only that.
    """
    shown = np.asarray(image.convert("L").reduce(max(1, max(image.size) // SIDE)), dtype=np.float32)
    if np.ptp(shown) < BLANK:
        return [NOTHING]
    if spread(shown) < DULL and not is_tiny(shown, size):
        return [NEARLY_NOTHING]
    return [words for words, is_so in CHECKS.items() if is_so(shown, size)]


def spread(shown: np.ndarray) -> float:
    """Levels between the darkest and the brightest hundredth of (h, w)."""
    low, high = np.percentile(shown, (1, 99))
    return float(high - low)


def has_bars(shown: np.ndarray, size: tuple[int, int]) -> bool:
    """Whether there are black bars above and below, or at the left and the right."""
    return any(all(map(has_bar, (each, each[::-1]))) for each in (shown, shown.T))


def has_bar(shown: np.ndarray) -> bool:
    """Whether the first lines are black and the next one is lit nearly everywhere."""
    dark = np.percentile(shown, 98, axis=1) < BLACK
    thick = int(np.argmin(dark))
    if dark.all() or thick < BAR * len(shown):
        return False
    beside = shown[min(thick + 1, len(shown) - 1)]  # the line in between is mixed of both
    return bool((beside > BLACK).mean() > LIT)


def is_blurred(shown: np.ndarray, size: tuple[int, int]) -> bool:
    """Whether no place of it is sharp: the square with the most detail (Pech-Pacheco et al. 2000) has little."""
    if min(shown.shape) < 4 * TILE:  # there are no small details in it that could be lost
        return False
    middle = shown[1:-1, 1:-1]
    detail = middle - (shown[:-2, 1:-1] + shown[2:, 1:-1] + shown[1:-1, :-2] + shown[1:-1, 2:]) / 4
    high, wide = (side // TILE * TILE for side in detail.shape)
    tiles = detail[:high, :wide].reshape(high // TILE, TILE, wide // TILE, TILE)
    return bool(tiles.std(axis=(1, 3)).max() < SHARP)


def is_tiny(shown: np.ndarray, size: tuple[int, int]) -> bool:
    """Whether what stands out from a plain ground fills little of it."""
    edge = np.concatenate([shown[0], shown[-1], shown[:, 0], shown[:, -1]])
    if spread(edge[None]) > GROUND:  # not plain
        return False
    stands_out = np.abs(shown - np.median(edge)) > GROUND
    return 0 < stands_out.mean() < TINY and box_share(stands_out) < TINY


def box_share(inside: np.ndarray) -> float:
    """The part of (h, w) that the smallest box fills which holds all that is true."""
    sides = [np.flatnonzero(inside.any(axis=axis)) for axis in (0, 1)]
    return float(np.prod([side[-1] - side[0] + 1 for side in sides]) / inside.size)


def is_screen(shown: np.ndarray, size: tuple[int, int]) -> bool:
    """Whether it is as large as a screen, and much of it drawn by a program."""
    is_screen_sized = (min(size), max(size)) in SCREENS
    return is_screen_sized and bool((np.abs(np.diff(shown, axis=1)) < 1).mean() > FLAT)


NOTHING = "blank; leave them out"
NEARLY_NOTHING = "nearly of one colour, so that little can be told apart; leave them out, or light them better"
CHECKS: dict[str, Callable[[np.ndarray, tuple[int, int]], bool]] = {
    "with black bars, which are learned too; cut them off": has_bars,
    "sharp nowhere, and blur is learned; take sharper pictures": is_blurred,
    "showing something tiny on a plain ground; crop them, so that it fills most of the picture": is_tiny,
    "like screenshots, with what belongs to the program; cut that off": is_screen,
}
