"""Whether a run may begin in a folder, go on there, or is finished."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..config.concept import FROM_PICTURES
from ..config.config import TrainConfig
from ..config.settings import config_to_mapping, marked
from ..errors import BadInput, Recorded, Unavailable
from ..files.wording import flag, printable, resuming
from .folder import RunFolder
from .identity import lasting_settings
from .storage import line_of

FOUND = ("init", "scene")  # settings that `init: auto` fills in
Entry = Mapping[str, Any]  # of the manifest


def with_found_words(config: TrainConfig, manifest: Mapping[str, Entry] | None = None) -> TrainConfig:
    """The config, where its run is resumed with the words that were found when it began; manifest: as below."""
    if not config.resume or not config.concept.seeks_words:
        return config
    folder = RunFolder(config)
    entry = finished(folder) if manifest is None else with_config(manifest.get(folder.name))
    saved = entry["config"] if entry else folder.saved_settings()
    if not saved:
        return config
    concept = config.concept
    scene = saved.get("scene") if concept.scene is None else concept.scene
    return replace(config, concept=replace(concept, init=saved.get("init") or FROM_PICTURES, scene=scene))


def check_folder(folder: RunFolder, manifest: Mapping[str, Entry] | None = None) -> None:
    """Raises BadInput when the folder holds a run that is neither resumed nor overwritten, or another one's.

    A folder that holds none (see `RunFolder.holds_run`) is one to begin in, with any settings, also with `resume`.

    manifest: what is published of the output, where the run is one of many; to resume those is to do what is missing,
    so there may be something finished.
    """
    config = folder.config
    line_of(folder.name)  # refuses names that cannot be published
    check_place(folder)
    entry = finished(folder) if manifest is None else with_config(manifest.get(folder.name))
    if config.overwrite or not (folder.holds_run or entry):
        return
    if not config.resume:
        raise BadInput(
            f"{folder.place()} holds a run; add {flag('resume', True)} to go on, {flag('overwrite', True)} to "
            f"delete it, or a new {flag('name')}"
        )
    if manifest is None and not folder.checkpoints.steps() and not is_complete(folder, entry):
        again = f"{flag('overwrite', True)} does it again"
        raise BadInput(
            f"{folder.place()} holds no checkpoint to resume from; it is finished, and {again}"
            if entry
            else f"{folder.place()} holds an embedding but no checkpoint to resume from; {again}"
        )
    check_same_run(folder, entry)


def check_locked(folder: RunFolder, entry: Entry | None, is_list: bool) -> None:
    """Check once more, now that nobody else writes into the folder; entry: of the manifest, now.

    is_list: another process of the job may have begun this run, or finished it. Raises BadInput as `check_folder` does.
    """
    if not is_list:
        check_folder(folder)
    elif not folder.config.overwrite and (folder.holds_run or entry):
        check_same_run(folder, entry)


def check_place(folder: RunFolder) -> None:
    """Raises BadInput where there cannot be a folder: a file is in its way, or a link that leads nowhere."""
    path = folder.path
    if path.exists() and not path.is_dir():
        raise BadInput(f"{printable(path)} is a file; choose another {flag('output')} or {flag('name')}")
    for each in (path, *path.parents):
        if each.is_symlink() and not each.exists():
            raise BadInput(
                f"{printable(each)} is a link to {printable(os.readlink(each))}, which is not there; make that folder, "
                f"or choose another {flag('output')}"
            )
        if each.exists():
            check_parent(each)
            return


def check_parent(place: Path) -> None:
    """Raises BadInput where nothing can be made in a place that is there."""
    if not place.is_dir():
        raise BadInput(f"{printable(place)} is a file and no folder; choose another {flag('output')}")
    if not os.access(place, os.W_OK | os.X_OK):
        raise BadInput(
            f"{printable(place)} cannot be written: its rights or its disk forbid it; choose another {flag('output')}"
        )


def check_same_run(folder: RunFolder, entry: Entry | None) -> None:
    """Raises BadInput when the run in the folder, or the published one, has settings that must stay as they are."""
    saved = entry["config"] if entry else folder.saved_settings()
    if saved is None:
        raise BadInput(
            f"{printable(folder.files.config)} is missing or damaged, so nobody knows whose run that is; "
            f"{flag('overwrite', True)} starts again"
        )
    asked = lasting_settings(folder.config)
    if asked["init"] == FROM_PICTURES:  # the words that were found stand there
        asked = {key: value for key, value in asked.items() if key not in FOUND}
    differ = [key for key in asked if saved.get(key) != asked[key]]
    if differ:
        changes = "; ".join(f"{key} was {printable(str(saved.get(key)))} and is {asked[key]}" for key in differ)
        raise BadInput(
            f"{flag('resume', True)} goes on with the same settings, but {changes}. Its own are in "
            f"{printable(folder.files.config)}; to go on with them: {resuming(folder.files.config)}"
        )
    reached = max(folder.checkpoints.steps(), default=0)
    if reached > folder.config.steps:
        raise BadInput(
            f"{flag('steps', folder.config.steps)} is before step {reached}, which the run has reached; give "
            f"{flag('steps', reached)} or more, or {flag('overwrite', True)} to begin anew"
        )


def is_complete(folder: RunFolder, entry: Entry | None) -> bool:
    """Whether the run of an entry of the manifest is the one that is asked for now, and to the same end."""
    if entry is None or folder.config.overwrite:
        return False
    asked = config_to_mapping(folder.config)
    return all(entry["config"].get(key) == asked[key] for key in ("steps", "early_stop"))


def finished(folder: RunFolder) -> Entry | None:
    """The manifest's entry of this run, which is there when all of it is published."""
    return with_config(folder.storage.entry(folder.name))


def with_config(entry: Entry | None) -> Entry | None:
    """An entry of the manifest, unless it is damaged or somebody else's."""
    return entry if entry and isinstance(entry.get("config"), dict) else None


def failed_before(config: TrainConfig, entry: Entry | None) -> Recorded | None:
    """What to tell of a concept that failed in an earlier attempt, if it is not to be tried again.

    entry: of the manifest, of a failure. It is tried again where that is asked for, where a row asks for something else
    now, and where it was the place or the time that failed.
    """
    if entry is None or not config.resume or config.retry_failed or entry.get("code") == Unavailable.code:
        return None
    before = entry.get("config")
    asked = config_to_mapping(config)
    names = [name for name in marked("row") if not (name in FOUND and config.concept.seeks_words)]
    if not isinstance(before, dict) or any(before.get(name) != asked[name] for name in names):
        return None
    said = str(entry.get("reason", "it failed"))
    again = f"it failed before, and {flag('retry_failed', True)} tries it again"
    return Recorded(f"{said} ({again})", str(entry.get("code", "")))
