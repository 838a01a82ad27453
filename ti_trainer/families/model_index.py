"""What a model's folder says that it is made of, on this machine or on the hub."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ..config.model import ModelConfig
from ..errors import BadInput
from ..files.wording import flag

# parts of a pipeline that no training needs
UNUSED = ("safety_checker", "feature_extractor", "image_encoder")

# how the names of parts start that have no weights
WITHOUT_WEIGHTS = ("tokenizer", "t5_tokenizer", "scheduler")
# where a folder says what its parts are: a pipeline's, and a modular one's
INDEXES = ("model_index.json", "modular_model_index.json")


def model_index(config: ModelConfig, source: str, setting: str = "model") -> dict[str, Any]:
    """The contents of model_index.json; downloads it when `source` is a hub id."""
    folder = Path(source)
    shown = flag(setting, source)
    if folder.is_dir():
        path = next((folder / name for name in INDEXES if (folder / name).is_file()), None)
        if path is None:
            raise BadInput(f"{shown} is no diffusers folder: model_index.json is missing")
    elif folder.exists() or source.count("/") != 1 or source.startswith((".", "/")):
        raise BadInput(
            f"{shown} does not exist; give a diffusers folder, a checkpoint file or a hub id such as owner/name"
        )
    else:
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

        try:
            path = index_on_the_hub(config, source)
        except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise BadInput(f"{shown} is no folder here, and the hub did not give it: {reason}") from None
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise BadInput(f"{path} is not JSON: the model folder is damaged") from None
    if not isinstance(index, dict) or not isinstance(index.get("_class_name"), str):
        raise BadInput(f"{path} names no pipeline class: the model folder is damaged")
    return index


def index_on_the_hub(config: ModelConfig, source: str) -> Path:
    """The first of INDEXES that a hub model has; raises what the hub raises for the first."""
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return model_file(config, source, INDEXES[0])
    except EntryNotFoundError as error:
        try:
            return model_file(config, source, INDEXES[1])
        except EntryNotFoundError:
            raise error from None


def model_file(config: ModelConfig, source: str, name: str) -> Path:
    """The place of a file of a model; downloads it when `source` is a hub id, and raises what the hub raises."""
    if Path(source).is_dir():
        return Path(source) / name
    from huggingface_hub import hf_hub_download

    return Path(
        hf_hub_download(
            source,
            name,
            revision=config.revision,
            cache_dir=config.cache_dir,
            local_files_only=config.offline,
        )
    )


def parts_in(index: Mapping[str, Any]) -> dict[str, str]:
    """The parts that training needs of those that a model_index.json lists, name -> class."""
    return {
        part: made_of[1]
        for part, made_of in index.items()
        if not part.startswith("_") and part not in UNUSED and isinstance(made_of, list) and made_of[0] is not None
    }


def missing_in(index: Mapping[str, Any]) -> list[str]:
    """The parts that a pipeline could have and a model_index.json says it has not: SD 3's T5 for one."""
    return [part for part, made_of in index.items() if isinstance(made_of, list) and made_of[0] is None]


def check_parts(folder: Path, index: Mapping[str, Any], given: Collection[str]) -> None:
    """Raises BadInput when a folder lacks a part that its model_index.json lists, or a part lacks its weights.

    given: parts that come from elsewhere.
    """
    for part in (part for part in parts_in(index) if part not in given):
        files = [file.name for file in (folder / part).glob("*")]
        if not files:
            raise BadInput(f"{flag('model', folder)} is not complete: its {part} is missing")
        if part.startswith(WITHOUT_WEIGHTS):
            continue
        if not any(name.endswith((".safetensors", ".bin")) for name in files):
            raise BadInput(f"{flag('model', folder)} is not complete: its {part} has no weights")
        if "config.json" not in files:
            raise BadInput(f"{flag('model', folder)} is not complete: its {part} has no config.json")
