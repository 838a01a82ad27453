"""The parts of a pipeline as their small files describe them: everything that a family's facts are read from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import BadInput

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


@dataclass(frozen=True)
class Part:
    """A part of a pipeline without its weights."""

    class_name: str  # as in model_index.json
    config: Mapping[str, Any]  # of its config.json; empty for tokenizers


# what modular pipelines make by themselves, from no file
MADE_UP = ("guider", "image_processor")


class Parts(dict[str, Part]):
    """By name in model_index.json, without those that are missing; to ask for one of these raises BadInput.

    settings: what else that file says.
    """

    def __init__(self, parts: Iterable[tuple[str, Part]] = (), settings: Mapping[str, Any] | None = None) -> None:
        super().__init__(parts)
        self.settings = settings or {}

    def __missing__(self, name: str) -> Part:
        raise BadInput(f"the model has no {name}: its model_index.json says that it is of another kind than it is")


def parts_of(pipeline: DiffusionPipeline) -> Parts:
    """The parts of a pipeline that is loaded; the same as those of its files."""
    parts = [
        (name, Part(type(part).__name__, config_of(part)))
        for name, part in pipeline.components.items()
        if part is not None and name not in MADE_UP
    ]
    return Parts(parts, dict(pipeline.config))


def config_of(part: Any) -> dict[str, Any]:
    config = getattr(part, "config", {})  # diffusers' are mappings, transformers' are objects, tokenizers have none
    return dict(config) if isinstance(config, Mapping) else config.to_dict()
