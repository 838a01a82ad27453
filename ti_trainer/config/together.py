"""What configs must have in common, and must not, to be trained together."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import BadInput
from ..files.folder_names import folded
from .config import TrainConfig
from .settings import marked


def check_together(configs: Sequence[TrainConfig]) -> None:
    """Raises BadInput where runs cannot be trained together, or would write into each other's files."""
    if not configs:
        raise BadInput("there is no concept to learn: give one at least")
    first = configs[0]
    places = set()
    tokens = {config.concept.trigger for config in configs}
    for config in configs:
        for name in marked("shared", type(config)):  # there is one model, and one batch
            if getattr(config, name) != getattr(first, name):
                raise BadInput(
                    f"{name} is {getattr(first, name)!r} for {first.concept.token} and {getattr(config, name)!r} for "
                    f"{config.concept.token}: concepts that are trained together share it; use one value, or two runs"
                )
        place = (config.output, folded(config.run_name))  # some disks would give both one folder
        if place in places:
            raise BadInput(f"two concepts are called '{config.run_name}': give each its own token or name")
        places.add(place)
        numbered = re.fullmatch(r"(.+)_\d+", config.concept.trigger)
        if numbered and numbered[1] in tokens:  # diffusers calls the rows of `cat` cat, cat_1, cat_2
            raise BadInput(
                f"'{config.concept.trigger}' could be a row of '{numbered[1]}': choose names that differ by more than "
                "a number"
            )
