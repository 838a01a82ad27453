"""The state of a run on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after `step` steps; everything else is a function of the config."""

    step: int
    tensors: Mapping[str, Tensor]
    info: Mapping[str, Any]
