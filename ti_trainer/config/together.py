"""What configs must have in common, and must not, to be trained together."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import BadInput
from ..files.folder_names import folded
from ..files.wording import flag
from .config import ALONE, TrainConfig
from .settings import marked


def check_together(configs: Sequence[TrainConfig]) -> None:
    """Raises BadInput where runs cannot be trained together, or would write into each other's files."""
    if not configs:
        raise BadInput("there is no concept to learn: give one at least")
    job = Together()
    for config in configs:
        job.add(config)


class Together:
    """Configs that are trained together, taken one after the other."""

    def __init__(self) -> None:
        self._first: TrainConfig | None = None
        self._places: set[tuple[str, str]] = set()
        self._tokens: set[str] = set()
        self._rows: dict[str, str] = {}  # what could be a row of a token -> itself: "cat" -> "cat_1"

    def add(self, config: TrainConfig) -> None:
        """Take one more; raises BadInput where it does not fit to those that were taken before."""
        first = self._first or config
        for name in marked("shared", type(config)):  # there is one model, and one batch
            if getattr(config, name) != getattr(first, name):
                raise BadInput(
                    f"{name} is {getattr(first, name)!r} for {first.concept.token} and {getattr(config, name)!r} for "
                    f"{config.concept.token}: concepts that are trained together share it; use one value, or two runs"
                )
        alone = [name for name in config.report_to if name in ALONE]
        if alone and self._first:
            raise BadInput(f"{flag('report_to', alone[0])} follows one run at a time: train each concept by itself")
        place = (config.output, folded(config.run_name))  # some disks would give both one folder
        if place in self._places:
            raise BadInput(f"two concepts are called '{config.run_name}': give each its own token or name")
        token = config.concept.trigger
        numbered = re.fullmatch(r"(.+)_\d+", token)
        if numbered and numbered[1] in self._tokens:
            raise taken_for_a_row(token, numbered[1])
        if token in self._rows:
            raise taken_for_a_row(self._rows[token], token)
        self._first = first
        self._places.add(place)
        self._tokens.add(token)
        if numbered:
            self._rows[numbered[1]] = token


def taken_for_a_row(row: str, token: str) -> BadInput:
    """diffusers calls the rows of `cat` cat, cat_1, cat_2."""
    return BadInput(f"'{row}' could be a row of '{token}': choose names that differ by more than a number")
