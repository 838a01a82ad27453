"""Which concepts of a job may begin or go on, before any of their pictures is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ..config.config import TrainConfig
from ..config.rows import Refusal
from ..runs.folder import RunFolder
from ..runs.manifest import Manifest
from ..runs.resume import check_folder, failed_before, with_found_words
from ..runs.storage import Storage
from .failures import as_entry, reason_of

FEW = 50  # concepts whose lines of a manifest are read one by one: nobody knows how long it is


@dataclass
class Lookup:
    """What was found: those that are ready, and the problems of the others by name."""

    ready: list[TrainConfig] = field(default_factory=list)
    failures: dict[str, Exception] = field(default_factory=dict)
    mended: list[tuple[str, str]] = field(default_factory=list)  # output and record of rows that are no failures now
    columns: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # of those with problems, see TrainConfig


def look_up(
    configs: Sequence[TrainConfig], refused: Sequence[Refusal] = (), is_list: bool = True, few: int = 0
) -> Lookup:
    """The configs whose folders let them begin or go on, and the problems of the others and of those refused before.

    few: up to so many concepts, only their own lines of the manifest are read.
    """
    found = Lookup()
    for each in refused:
        found.failures[each.name] = reason_of(each.problem) if is_list else each.problem
        found.columns[each.name] = each.columns
    manifests: dict[str, Manifest | Exception] = {}
    for config in configs:
        try:
            if is_list and config.output not in manifests:
                own = [each for each in configs if each.output == config.output]
                names = [name for each in own for name in (each.run_name, each.origin.record) if name]
                manifests[config.output] = read_manifest(config.output, names if len(own) <= few else None)
            manifest = manifests.get(config.output)
            if isinstance(manifest, Exception):
                raise manifest
            if manifest and config.origin.record in manifest.failed:
                found.mended.append((config.output, str(config.origin.record)))
            before = failed_before(config, manifest.failed.get(config.run_name)) if manifest else None
            if before:
                raise before
            published = manifest.published if manifest else None
            config = with_found_words(config, published)
            check_folder(RunFolder(config), published)
        except Exception as problem:
            if not is_list:
                raise
            found.failures[config.run_name] = reason_of(problem, config)
            found.columns[config.run_name] = config.origin.columns
        else:
            found.ready.append(config)
    return found


def read_manifest(output: str, names: Sequence[str] | None) -> Manifest | Exception:
    """What has become of the concepts of an output, or why nobody can tell; names: of those that are asked for."""
    try:
        return Storage(output).manifest(names)
    except Exception as problem:
        return problem


def record_refusals(refused: Sequence[Refusal], found: Lookup) -> None:
    """Write a line of the manifest for each row that cannot be tried, and remove those that say so no longer."""
    for each in refused:
        with suppress(Exception):  # an output that is dead is told by those that are tried
            entry = as_entry(found.failures[each.name], each.token, each.columns, row=each.name)
            Storage(each.output).record_failure(each.record, entry)
    for output, record in found.mended:
        with suppress(Exception):
            Storage(output).forget_failure(record)
