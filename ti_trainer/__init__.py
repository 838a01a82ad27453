"""Textual Inversion: teach a frozen Stable Diffusion model a new word.

    from ti_trainer import Concept, TrainConfig, load_into_pipeline, train

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config.config import Concept, ModelConfig, TrainConfig
    from .errors import BadInput
    from .families import load_into_pipeline
    from .training.endings import Run
    from .training.jobs import train, train_all

__version__ = "0.1.0"
_HOME = {
    "BadInput": "errors",
    "Concept": "config.config",
    "ModelConfig": "config.config",
    "TrainConfig": "config.config",
    "Run": "training.endings",
    "train": "training.jobs",
    "train_all": "training.jobs",
    "load_into_pipeline": "families",
}
__all__ = ["BadInput", "Concept", "ModelConfig", "Run", "TrainConfig", "load_into_pipeline", "train", "train_all"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
