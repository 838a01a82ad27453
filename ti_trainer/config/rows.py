"""What a row of a list may ask for: a list is the word of whoever wrote it, which need not be whoever trains."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import BadInput
from ..files.reach import OWN_WORD, Reach
from ..files.remote import local_path
from ..files.wording import flag, printable
from .bundled import resolve
from .concept_lists import Row
from .config import TrainConfig
from .settings import config_from_mapping, settings_of_run
from .together import Together

PLACES = {name: setting.about.place for name, setting in settings_of_run().items() if setting.about.place}


def configs_of_rows(
    rows: Sequence[Row], values: Mapping[str, Any], flags: Mapping[str, Any], folder: Path, reach: Reach
) -> tuple[list[TrainConfig], dict[str, Exception]]:
    """A config for each row that may be trained, and the problems of the others, by where they stand.

    values and flags: of whoever trains; a row comes before the former and after the latter. folder: of the list, to
    which paths of rows are relative. reach: what rows may read; what `values` and `flags` name is read too. Raises
    BadInput where it is `values` or `flags` that are wrong.
    """
    own = {"images": str(folder)} if any("images" in row.settings for row in rows) else {}
    config_from_mapping({**own, **values, "token": "<any>"}, flags)
    job = Together()
    problems: dict[str, Exception] = {}
    for row in rows:
        try:
            if row.problem:
                raise row.problem
            job.add(config_of_row(row.settings, values, flags, folder, reach))
        except Exception as problem:  # of this row alone, even where it is a mistake of ours
            problems[name_of(row)] = problem
    return job.configs, problems


def name_of(row: Row) -> str:
    """Where a row stands, and its token."""
    token = row.settings.get("token")
    return f"{row.where} ({printable(token)})" if isinstance(token, str) else row.where


def config_of_row(
    row: Mapping[str, Any], values: Mapping[str, Any], flags: Mapping[str, Any], folder: Path, reach: Reach
) -> TrainConfig:
    """The config of a row, which may read what `reach` says; raises BadInput for what a row may not set."""
    known = settings_of_run()
    for name in row:
        if name in known and not known[name].about.row:
            raise BadInput(f"a list of concepts may not set {name}; give {flag(name)} for all, or {OWN_WORD}")
    own = {name: in_folder(name, value, folder) for name, value in row.items()}
    config = config_from_mapping({**values, **own}, flags)
    concept = config.concept
    theirs = row.keys() - flags.keys()
    ours = [place for name in PLACES if name not in theirs for place in places_of(name, getattr(concept, name))]
    allowed = reach.including(*map(resolve, ours))
    return replace(config, concept=replace(concept, reach=allowed))


def places_of(name: str, value: Any) -> list[str]:
    """The paths and URLs that the value of a setting names."""
    values = value if isinstance(value, (list, tuple)) else [value]
    paths = [PLACES[name].path(each) for each in values if isinstance(each, str)] if name in PLACES else []
    return [path for path in paths if path is not None]


def in_folder(name: str, value: Any, folder: Path) -> Any:
    """The value of a setting with the path that it names, if it does, relative to `folder`; URLs stay as they are."""
    if isinstance(value, list):
        return [in_folder(name, each, folder) for each in value]
    here = next(map(local_path, places_of(name, value)), None)
    return value if here is None else PLACES[name].prefix + os.path.join(os.path.abspath(folder), here)
