"""What a model's small files say of it, without its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.bundled import resolve
from ..config.model import ModelConfig
from ..errors import BadInput
from ..files.wording import flag
from .base import FamilySpec
from .model_index import model_file, model_index, parts_in
from .parts import Part, Parts
from .slots import TOKENIZER
from .table import family_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class ModelFacts:
    """A model's facts and the tokenizer of its first text encoder."""

    spec: FamilySpec
    tokenizer: PreTrainedTokenizerBase

    @property
    def window(self) -> int:
        """Tokens of a caption that the first text encoder reads."""
        return self.spec.slots[0].kind.window


def read_model_facts(config: ModelConfig) -> ModelFacts:
    """The facts of a diffusers folder, of a hub id, or of a checkpoint file's --model_config.

    Raises BadInput when there is no such model, when the files are not there, or when no family fits it.
    """
    source = resolve(config.model)
    setting = "model"
    if Path(source).is_file():
        if config.model_config is None:
            raise BadInput(
                f"{flag('model', source)} has no tokenizer in it; add {flag('model_config')} with a folder or hub id"
            )
        source = config.model_config
        setting = "model_config"
    index = model_index(config, source, setting)
    family = family_of(index["_class_name"], config)
    parts = read_parts(config, source, index)
    spec = family.spec_of(parts, config)
    name = TOKENIZER + spec.slots[0].suffix
    return ModelFacts(spec, load_tokenizer(config, source, name, parts[name].class_name))


def read_parts(config: ModelConfig, source: str, index: Mapping[str, Any]) -> Parts:
    """The parts that model_index.json lists, with their configs; tokenizers have none that is read here."""
    parts = Parts(settings=index)
    for name, class_name in parts_in(index).items():
        files = {"scheduler": "scheduler_config.json"}
        described = {} if TOKENIZER in name else read_config(config, source, name, files.get(name))
        parts[name] = Part(class_name, described)
    return parts


def read_config(config: ModelConfig, source: str, part: str, name: str | None = None) -> dict[str, Any]:
    """The config of a part of a pipeline; name: of its file, by default config.json."""
    file = f"{part}/{name or 'config.json'}"
    try:
        return json.loads(model_file(config, source, file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # what the hub raises is of these kinds
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadInput(f"{flag('model', source)} has no {file} that can be read: {reason}") from None


def load_tokenizer(config: ModelConfig, source: str, part: str, class_name: str) -> PreTrainedTokenizerBase:
    """The tokenizer in a pipeline's folder `part`; raises BadInput where transformers finds no vocabulary there."""
    import transformers

    try:
        tokenizer = getattr(transformers, class_name).from_pretrained(
            source,
            subfolder=part,
            revision=config.revision,
            cache_dir=config.cache_dir,
            local_files_only=config.offline,
        )
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{flag('model', source)} has no tokenizer that can be loaded: {str(error).splitlines()[0]}"
        ) from None
    if len(tokenizer) <= len(tokenizer.all_special_ids) + 1:  # transformers found no file
        raise BadInput(
            f"{flag('model', source)} has no tokenizer that can be loaded: its folder '{part}' has no vocabulary"
        )
    return tokenizer
