"""How much a row of somebody else's list may ask for: the limits of a service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf

from ..errors import BadInput, Refused
from ..files.wording import flag, printable
from .concept import Bounds
from .config import TrainConfig
from .settings import settings_of_run

# what is counted when pictures and words are there: name -> field of Bounds
COUNTED = {"pictures": "pictures", "pixels": "pixels", "num_vectors": "vectors"}
SETTINGS = tuple(name for name, one in settings_of_run().items() if one.about.row and one.type in (int, float))


@dataclass(frozen=True)
class RowLimits:
    """The most that a row may ask for, by the name of a setting or of what is counted."""

    most: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def parse(cls, texts: Sequence[str]) -> RowLimits:
        """Limits such as "steps=500" and "pictures=40"; raises BadInput for what is none."""
        known = [*COUNTED, *(name for name in SETTINGS if name not in COUNTED)]
        most = {}
        for text in texts:
            name, _, number = text.partition("=")
            with suppress(ValueError):
                most[name] = float(number)
            if name not in known or not 0 <= most.get(name, -1) < inf:
                shown = flag("row_limits", printable(text))
                raise BadInput(f"{shown} is no limit; write NAME=NUMBER with one of {', '.join(known)}")
        return cls(most)

    def bounds(self) -> Bounds:
        """What is counted later."""
        return Bounds(**{ours: int(self.most[name]) for name, ours in COUNTED.items() if name in self.most})

    def check(self, config: TrainConfig, asked: Sequence[str]) -> None:
        """Raises Refused where a setting is over its limit; asked: those that the row says itself."""
        for name in asked:
            value = getattr(config.concept, name, None) or getattr(config, name, None)
            if name in self.most and value is not None and value > self.most[name]:
                raise Refused(f"{name} is {value:g}, and a row of a list may ask for {self.most[name]:g} at most")


NO_LIMITS = RowLimits()
