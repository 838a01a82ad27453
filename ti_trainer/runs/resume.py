"""Whether a run may begin in a folder, go on there, or is finished."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..config.config import FROM_PICTURES, TrainConfig
from ..config.settings import config_to_mapping, marked, read_yaml
from ..errors import BadInput
from ..files.wording import flag
from .folder import RunFolder
from .storage import line_of

Entry = Mapping[str, Any]  # of the manifest


def resume_command(folder: RunFolder) -> str:
    return f"accelerate launch train.py --config {shlex.quote(str(folder.files.config))} --resume"


def with_found_words(config: TrainConfig, manifest: Mapping[str, Entry] | None = None) -> TrainConfig:
    """The config, where its run is resumed with the words that were found when it began; manifest: as below."""
    if not config.resume or config.concept.init != FROM_PICTURES:
        return config
    folder = RunFolder(config)
    entry = finished(folder) if manifest is None else with_config(manifest.get(folder.name))
    if entry is None and not folder.files.config.exists():
        return config
    saved = entry["config"] if entry else read_yaml(str(folder.files.config))
    return replace(config, concept=replace(config.concept, init=saved.get("init", FROM_PICTURES)))


def check_folder(folder: RunFolder, manifest: Mapping[str, Entry] | None = None) -> None:
    """Raises BadInput when the folder holds a run that is neither resumed nor overwritten, or another one's.

    manifest: what is published of the output, where the run is one of many; to resume those is to do what is missing,
    so there may be nothing yet, or something finished.
    """
    config = folder.config
    line_of(folder.name)  # refuses names that cannot be published
    entry = finished(folder) if manifest is None else with_config(manifest.get(folder.name))
    if folder.path.exists() and not folder.path.is_dir():
        raise BadInput(f"{folder.path} is a file; choose another {flag('output')} or {flag('name')}")
    saved = folder.checkpoints.steps()
    if config.resume:
        if manifest is None and not saved:
            cure = (
                f"it is finished, and {flag('overwrite', True)} does it again"
                if entry
                else f"leave out {flag('resume', True)}"
            )
            raise BadInput(f"{folder.place()} holds no checkpoint to resume from; {cure}")
        if saved or entry:
            check_same_run(folder, entry)
    elif (folder.holds_run or entry) and not config.overwrite:
        raise BadInput(
            f"{folder.place()} holds a run; add {flag('resume', True)} to go on, {flag('overwrite', True)} to "
            f"delete it, or a new {flag('name')}"
        )


def check_same_run(folder: RunFolder, entry: Entry | None) -> None:
    """Raises BadInput when the run in the folder, or the published one, has settings that must stay as they are."""
    saved = entry["config"] if entry else read_yaml(str(folder.files.config))
    asked = config_to_mapping(folder.config)
    free = marked("free_on_resume", type(folder.config))  # these do not change what the finished steps were
    differ = [key for key in asked if key not in free and saved.get(key) != asked[key]]
    if differ:
        changes = "; ".join(f"{key} was {saved.get(key)} and is {asked[key]}" for key in differ)
        raise BadInput(
            f"{flag('resume', True)} goes on with the same settings, but {changes}. Use: {resume_command(folder)}"
        )


def is_complete(folder: RunFolder) -> bool:
    """Whether the run is published, and to the end that is asked for now."""
    entry = None if folder.config.overwrite else finished(folder)
    asked = config_to_mapping(folder.config)
    return entry is not None and all(entry["config"].get(key) == asked[key] for key in ("steps", "early_stop"))


def finished(folder: RunFolder) -> Entry | None:
    """The manifest's entry of this run, which is there when all of it is published."""
    return with_config(folder.storage.entry(folder.name))


def with_config(entry: Entry | None) -> Entry | None:
    """An entry of the manifest, unless it is damaged or somebody else's."""
    return entry if entry and isinstance(entry.get("config"), dict) else None
