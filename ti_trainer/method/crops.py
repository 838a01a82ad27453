"""Which part of a picture's side is shown: at which pixel a window of a given length begins.

Each function takes the length of the side, the length of the window, the span of the subject on that side (None if
there is no mask) and a draw in [0, 1). It returns where the window begins, from 0 to side - window. Lengths are pixels.
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors import BadInput
from ..files.wording import flag

Span = tuple[float, float]  # begin and end of the subject on one side, in pixels


def at_centre(side: float, window: float, subject: Span | None, draw: float) -> float:
    """(side - window) / 2."""
    return (side - window) * 0.5


def anywhere(side: float, window: float, subject: Span | None, draw: float) -> float:
    """low + draw (high - low), rounded to a whole pixel.

    Without a mask, low is 0 and high is side - window; with one they are limited so that the middle of the subject
    stays inside the window.
    """
    low = 0.0
    high = side - window
    if subject:
        middle = sum(subject) / 2
        low = max(low, middle - window)
        high = min(high, middle)
    return min(round(low + draw * (high - low)), side - window)


def around_subject(side: float, window: float, subject: Span | None, draw: float) -> float:
    """middle - window / 2, with the middle of the subject, limited to the picture; without a mask the centre."""
    if subject is None:
        return at_centre(side, window, subject, draw)
    return min(max((sum(subject) - window) / 2, 0), side - window)


CROPS: dict[str, Callable[[float, float, Span | None, float], float]] = {
    "centre": at_centre,
    "random": anywhere,
    "subject": around_subject,
}


def check_crop(name: str) -> None:
    """Raises BadInput for a name that is not in CROPS."""
    if name not in CROPS:
        raise BadInput(f"{flag('crop')} is '{name}'; choose one of {', '.join(CROPS)}")
