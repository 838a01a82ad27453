"""What a row of a list may ask for: a list is the word of whoever wrote it, which need not be whoever trains."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import Refused
from ..files.reach import OWN_WORD, Reach
from ..files.remote import local_path
from ..files.wording import flag, keys_of_a_file, listing, printable
from .bundled import resolve
from .concept_lists import Row, record_name
from .config import Origin, TrainConfig
from .other_names import other_name
from .row_limits import NO_LIMITS, RowLimits
from .settings import config_from_mapping, settings_of_run
from .together import Together

MOST_HINTS = 20  # columns of which it is told what they may be meant for

PLACES = {name: setting.about.place for name, setting in settings_of_run().items() if setting.about.place}


@dataclass(frozen=True)
class Refusal:
    """A row that cannot be tried, and why."""

    name: str  # for messages: where it stands, and its token
    problem: Exception
    record: str  # the name of its line in the manifest of `output`
    output: str
    token: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Owner:
    """What whoever trains says of every row of a list."""

    values: Mapping[str, Any]  # a row comes before them
    flags: Mapping[str, Any]  # they come before a row
    folder: Path  # of the list, to which paths of rows are relative
    reach: Reach  # what rows may read; what `values` and `flags` name is read too
    limits: RowLimits = NO_LIMITS

    def check(self, has_pictures: bool) -> TrainConfig:
        """A config without a row; raises BadInput where it is `values` or `flags` that are wrong.

        has_pictures: rows name some.
        """
        own = {"images": str(self.folder)} if has_pictures else {}
        return config_from_mapping({**own, **self.values, "token": "<any>"}, self.flags)


def configs_of_rows(rows: Sequence[Row], owner: Owner, job: Together) -> tuple[list[TrainConfig], list[Refusal]]:
    """A config for each row that may be trained, and the problems of the others.

    job: gets the configs, and knows those of earlier rows. Raises BadInput as `Owner.check` does.
    """
    output = owner.check(any("images" in row.settings for row in rows)).output
    configs = []
    refused = []
    for row in rows:
        try:
            if row.problem:
                raise row.problem
            config = config_of_row(row, owner)
            job.add(config)
            configs.append(config)
        except Exception as problem:  # of this row alone, even where it is a mistake of ours
            token = row.settings.get("token")
            refused.append(Refusal(name_of(row), problem, record_name(row.where), output, token, row.columns))
    return configs, refused


def name_of(row: Row) -> str:
    """Where a row stands, and its token."""
    token = row.settings.get("token")
    return f"{row.where} ({printable(token)})" if isinstance(token, str) else row.where


def notes_on_columns(rows: Sequence[Row]) -> list[str]:
    """A line about what rows have beside settings, which may be meant as one."""
    names = list(dict.fromkeys(name for row in rows for name in row.columns))
    if not names:
        return []
    with keys_of_a_file(settings_of_run()):
        hints = {name: other_name(name, list(settings_of_run())) for name in names[:MOST_HINTS]}
    said = [f"{printable(name)} ({hints[name]})" if hints.get(name) else printable(name) for name in names]
    return [f"no settings, and kept for the manifest: {listing(said)}"]


def config_of_row(row: Row, owner: Owner) -> TrainConfig:
    """The config of a row; raises Refused for what a row may not set."""
    known = settings_of_run()
    settings = row.settings
    for name in settings:
        if not known[name].about.row:
            raise Refused(f"a list of concepts may not set {name}; give {flag(name)} for all, or {OWN_WORD}")
    own = {name: in_folder(name, value, owner.folder) for name, value in settings.items()}
    config = config_from_mapping({**owner.values, **own}, owner.flags)
    concept = config.concept
    theirs = settings.keys() - owner.flags.keys()
    owner.limits.check(config, sorted(theirs))
    ours = [place for name in PLACES if name not in theirs for place in places_of(name, getattr(concept, name))]
    allowed = owner.reach.including(*map(resolve, ours))
    concept = replace(concept, reach=allowed, bounds=owner.limits.bounds())
    return replace(config, concept=concept, origin=Origin(record_name(row.where), row.columns))


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
