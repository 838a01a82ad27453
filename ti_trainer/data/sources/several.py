"""Several sources of pictures, and pictures that are named one by one or by a pattern."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from glob import has_magic, iglob
from itertools import islice
from pathlib import Path, PurePath

from ...errors import BadInput
from ...files.reach import EVERYWHERE, Reach
from ...files.wording import flag
from ..images import Picture
from .folders import SUFFIXES, Companions, Findings, Found, find_pictures, is_mask
from .lists import ANY_COLUMNS, Columns

MOST_MATCHES = 1_000_000  # paths that a pattern may match


def find_all(
    sources: Sequence[str],
    columns: Columns = ANY_COLUMNS,
    masks: str | None = None,
    setting: str = "images",
    reach: Reach = EVERYWHERE,
) -> Findings:
    """The pictures of several sources: picture files, patterns of them, and what `find_pictures` takes.

    A picture that two of them have comes once. Raises BadInput as `find_pictures` does, and for a pattern that matches
    nothing.
    """
    each = [find_source(source, columns, masks, setting, reach) for source in sources]
    if len(each) == 1:
        return each[0]
    found = {one.picture.name: one for findings in each for one in findings.found}
    return Findings(list(found.values()), [note for findings in each for note in findings.notes])


def find_source(source: str, columns: Columns, masks: str | None, setting: str, reach: Reach) -> Findings:
    """The pictures of one source."""
    path = reach.resolve(source)
    if has_magic(source) and not os.path.exists(path):
        return picture_files(matching(source, setting, reach), reach)
    if path.suffix.lower() in SUFFIXES and os.path.isfile(path):
        return picture_files([Path(source)], reach)
    return find_pictures(source, columns, masks, setting, reach)


def matching(pattern: str, setting: str, reach: Reach) -> list[Path]:
    """The picture files whose paths match a pattern such as "photos/*.jpg"."""
    if reach.is_limited and ".." in Path(pattern).parts:
        raise BadInput(f"{flag(setting, pattern)} has .. in it; name the folder")
    files = map(Path, islice(iglob(pattern, recursive=True), MOST_MATCHES))
    found = [file for file in files if file.suffix.lower() in SUFFIXES and not is_mask(file.name) and file.is_file()]
    if not found:
        raise BadInput(f"{flag(setting, pattern)} matches no picture; give a folder of pictures, or another pattern")
    return found


def picture_files(files: Iterable[Path], reach: Reach) -> Findings:
    """Pictures by their files, with the captions and masks that lie beside them."""
    by_folder: dict[Path, list[str]] = {}
    for file in files:
        by_folder.setdefault(file.parent, []).append(file.name)
    found = []
    for folder, names in sorted(by_folder.items()):
        companions = Companions(folder, sorted(os.listdir(reach.resolve(folder))))
        for name in sorted(names):
            picture = Picture.at(folder / name, reach)
            caption, mask = companions.caption(name), companions.mask(name)
            found.append(Found(picture, PurePath(name), (), caption, mask))
    return Findings(found)
