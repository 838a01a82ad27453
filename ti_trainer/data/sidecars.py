"""Caption files beside pictures: which pictures of a folder have none, and writing them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..config.concept import Concept
from ..errors import BadInput
from ..files.atomic import write_bytes
from ..files.wording import flag, printable
from .sources.folders import CAPTION_SUFFIXES, MASK_MODES, Found, find_pictures, one_spelling
from .sources.lists import Columns


@dataclass(frozen=True)
class Sidecars:
    """The caption files that a folder of pictures lacks, and what has captions already."""

    missing: dict[Path, Found]  # by the file to be written
    present: list[str]  # for messages: caption files, or pictures with a caption in a metadata file
    notes: list[str]


def find_sidecars(folders: Sequence[str], concept: Concept) -> Sidecars:
    """Look for the pictures of folders as training does, and for their captions.

    Pictures of one name, cat.png and cat.jpg, share a file. Raises BadInput where there are no pictures, and for
    sources other than folders, in which training looks for no such files.
    """
    columns = Columns(concept.image_column, concept.caption_column)
    masks = None if concept.masks in MASK_MODES else concept.masks
    missing: dict[str, tuple[Path, Found]] = {}
    present = []
    findings = {images: find_pictures(images, columns, masks) for images in folders}
    for images, found in [(images, found) for images, own in findings.items() for found in own.found]:
        picture = Path(images) / found.place
        if not (Path(images).is_dir() and os.path.lexists(picture)):
            raise BadInput(f"{flag('images', images)} is no folder of picture files, beside which captions could lie")
        sidecar = picture.with_suffix(CAPTION_SUFFIXES[0])
        if found.caption_file or os.path.lexists(sidecar):
            present.append(printable(found.caption_file or sidecar))
        elif found.captions:
            present.append(found.picture.name)
        else:
            missing.setdefault(one_spelling(sidecar), (sidecar, found))
    notes = [note for own in findings.values() for note in own.notes]
    return Sidecars(dict(missing.values()), list(dict.fromkeys(present)), notes)


def write_sidecar(path: Path, caption: str) -> bool:
    """Write a caption file whole or not at all; returns False where there is one already, which stays as it is.

    Raises BadInput where the folder cannot be written to.
    """
    if os.path.lexists(path):
        return False
    try:
        write_bytes(f"{caption}\n".encode(), path)
    except OSError as error:
        raise BadInput(f"{printable(path)} cannot be written: {error.strerror}") from None
    return True
