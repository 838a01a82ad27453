"""Which part of a side is shown."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import BadInput
from ..files.wording import flag

Span = tuple[float, float]  # of the subject along one side


def at_centre(side: float, window: float, subject: Span | None, draw: float) -> float:
    return (side - window) * 0.5


def anywhere(side: float, window: float, subject: Span | None, draw: float) -> float:
    """At random, in whole pixels; a picture with a mask never loses the middle of its subject."""
    low, high = 0.0, side - window
    if subject:
        middle = sum(subject) / 2
        low, high = max(low, middle - window), min(high, middle)
    return min(round(low + draw * (high - low)), side - window)


def around_subject(side: float, window: float, subject: Span | None, draw: float) -> float:
    """The subject as near to the middle as the picture's edge allows; without a mask the centre."""
    if subject is None:
        return at_centre(side, window, subject, draw)
    return min(max((sum(subject) - window) / 2, 0), side - window)


# length of a picture's side, of the part of it that is shown, where the subject lies, a draw in [0, 1) -> start
CROPS: dict[str, Callable[[float, float, Span | None, float], float]] = {
    "centre": at_centre,
    "random": anywhere,
    "subject": around_subject,
}


def check_crop(name: str) -> None:
    if name not in CROPS:
        raise BadInput(f"{flag('crop')} is '{name}'; choose one of {', '.join(CROPS)}")
