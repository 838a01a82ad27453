"""The pictures of a source, with their captions and masks: a folder, a list, or a table."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from ...config.concept import MASK_MODES
from ...errors import BadInput
from ...files.reach import EVERYWHERE, Reach
from ...files.wording import flag, listing, printable
from ..images import Picture
from .lists import ANY_COLUMNS, Columns, ListedPicture, read_list
from .tables import TABLE_SUFFIXES, holds_tables, is_saved_dataset, read_table

# Files with these suffixes are treated as pictures; their content tells the format.
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".heic", ".heif"}
)
# Pictures and films in formats that are not read here; a note mentions them.
FOREIGN = frozenset({".jxl", ".psd", ".svg", ".dng", ".cr2", ".nef", ".arw", ".mp4", ".mov"})
CAPTION_SUFFIXES = (".txt", ".caption")
METADATA = ("metadata.jsonl", "metadata.csv")
MASK_ENDING = ".mask"
REPEATS = re.compile(r"(\d{1,3})_")  # sd-scripts' names such as "10_cat"; four digits would be a year


@dataclass(frozen=True)
class Found:
    """A picture and what belongs to it; neither its bytes nor its caption file have been read."""

    picture: Picture
    place: PurePath  # its path within the source
    captions: tuple[str, ...] = ()  # from a list, a metadata file or a column of a table
    caption_file: Path | None = None
    mask_file: Path | None = None
    repeats: int = 1


@dataclass(frozen=True)
class Findings:
    """The pictures of a source in the order of their names, and lines for the user about files that are not used."""

    found: list[Found]
    notes: list[str] = field(default_factory=list)


def find_pictures(
    images: str,
    columns: Columns = ANY_COLUMNS,
    masks: str | None = None,
    setting: str = "images",
    reach: Reach = EVERYWHERE,
) -> Findings:
    """All pictures of a source.

    masks: a folder of masks, which is left out where it lies within the source; setting: the one that names the
    source; reach: what may be read. Raises BadInput, naming the setting, when there are no pictures or when their list
    cannot be read.
    """
    path = reach.resolve(images)
    source = flag(setting, images)
    suffix = path.suffix.lower()
    is_folder = os.path.isdir(path)  # where a Path's own would raise, for names that are too long, it is none
    if is_folder and not is_saved_dataset(path):
        findings = look_through(path, columns, masks, reach)
        if not findings.found and holds_tables(path):
            findings = table_findings(images, columns, source, reach)
    elif suffix == ".jsonl" and os.path.exists(path):
        rows = read_list(path, columns)
        findings = Findings(
            [Found(Picture.at(r.path, reach), PurePath(r.name), r.captions, None, beside(r.path, reach)) for r in rows]
        )
    elif is_folder or (suffix in TABLE_SUFFIXES and os.path.exists(path)):
        findings = table_findings(images, columns, source, reach)
    elif os.path.exists(path):
        raise BadInput(f"{source} is not a folder; give the folder that holds the pictures")
    elif re.fullmatch(r"[\w.-]+/[\w.-]+", images) and not os.path.exists(path.parent):  # the form of a hub id
        findings = table_findings(images, columns, source, reach)
    else:
        raise BadInput(f"{source} does not exist; give a folder of pictures")
    if not findings.found:
        kinds = ", ".join(sorted(SUFFIXES))
        raise BadInput("\n".join([*findings.notes, f"{source} holds no pictures ({kinds})"]))
    return findings


def table_findings(images: str, columns: Columns, source: str, reach: Reach) -> Findings:
    """The pictures of a table; source: for messages."""
    rows = read_table(images, columns, source, reach)
    return Findings([Found(row.picture, PurePath(row.name), row.captions) for row in rows])


def beside(picture: Path, reach: Reach) -> Path | None:
    """The mask beside a picture that a list names, NAME.mask.png, if there is one."""
    mask = picture.with_name(f"{picture.stem}{MASK_ENDING}.png")
    return mask if os.path.isfile(reach.resolve(mask)) else None


def look_through(root: Path, columns: Columns, masks: str | None, reach: Reach) -> Findings:
    """The pictures of a folder and of its subfolders."""
    if masks and os.path.realpath(masks) == os.path.realpath(root):
        raise BadInput(f"{flag('masks', masks)} is the folder of the pictures; masks in it, NAME.mask.png, are found")
    found = []
    unused: list[str] = []  # caption files of pictures that have a caption in a metadata file
    spare: list[str] = []  # caption files without a picture
    foreign: list[str] = []
    repeating: dict[str, int] = {}
    folders = list(walk(root, Path(masks) if masks else None, reach))
    rows = [row for folder, names in folders for row in read_metadata(folder, names, columns, reach)]
    listed = {one_spelling(row.path): row for row in rows}
    for folder, names in folders:
        companions = Companions(folder, names)
        within = folder.relative_to(root)
        repeats = folder_repeats(within)
        foreign += [printable(folder / name) for name in names if Path(name).suffix.lower() in FOREIGN]
        spare += [printable(folder / name) for name in companions.spare()]
        for name in names:
            if Path(name).suffix.lower() not in SUFFIXES or is_mask(name):
                continue
            row = listed.pop(one_spelling(folder / name), None)
            captions = row.captions if row else ()
            caption_file = companions.caption(name)
            if captions and caption_file:
                unused.append(printable(caption_file))
                caption_file = None
            picture = Picture.at(folder / name, reach)
            found.append(Found(picture, within / name, captions, caption_file, companions.mask(name), repeats))
            if repeats > 1:
                repeating[printable(folder)] = repeats
    if listed:
        lost = [printable(row.path) for row in listed.values()]
        raise BadInput(f"a metadata file names pictures that are not there: {listing(lost)}; correct it or add them")
    found.sort(key=lambda each: (len(each.place.parts), each.place.parts))
    notes = [f"the pictures in {name} count {times} times" for name, times in repeating.items()]
    if unused:
        notes.append(f"not used, because a metadata file has captions too: {listing(unused)}")
    if spare:
        notes.append(f"text files that belong to no picture: {listing(spare)}")
    if foreign:
        notes.append(f"left alone, their formats are not read here: {listing(foreign)}; save them as JPEG or PNG")
    return Findings(found, notes)


def read_metadata(folder: Path, names: list[str], columns: Columns, reach: Reach) -> list[ListedPicture]:
    """The pictures that a folder's metadata file names; none if it has no such file."""
    files = [name for name in METADATA if name in names]
    if len(files) > 1:
        raise BadInput(f"{printable(folder)} has {' and '.join(files)}; keep one of them")
    for name in files:
        reach.resolve(folder / name)
    return [row for name in files for row in read_list(folder / name, columns)]


def find_masks(folder: str, reach: Reach = EVERYWHERE) -> dict[str, Path]:
    """The masks in a folder, by the path that a picture in the same place would have, without its suffix."""
    root = reach.resolve(folder)
    if not os.path.isdir(root):
        raise BadInput(
            f"{flag('masks')} is '{printable(folder)}': choose {', '.join(MASK_MODES)}, or a folder of masks"
        )
    masks = {}
    for place, names in walk(root, None, reach):
        for name in names:
            if Path(name).suffix.lower() in SUFFIXES:
                stem = nfc(Path(name).stem).removesuffix(MASK_ENDING)
                masks[(place.relative_to(root) / stem).as_posix()] = place / name
    return masks


def find_mask(found: Found, masks: Mapping[str, Path]) -> Path | None:
    """A picture's mask: the one at the same place in the folder of masks, or else directly in that folder."""
    place = nfc(found.place.with_suffix("").as_posix())
    return masks.get(place, masks.get(nfc(found.place.stem)))


def walk(root: Path, avoid: Path | None, reach: Reach) -> Iterator[tuple[Path, list[str]]]:
    """Each folder in `root` with the names of its files, but not `avoid`, nor what is hidden.

    A folder to which several links lead comes once. Raises BadInput for folders that cannot be read, or may not be.
    """
    seen = {os.path.realpath(avoid)} if avoid else set()

    def refuse(error: OSError) -> None:
        raise BadInput(f"{printable(str(error.filename))} cannot be read: {error.strerror}") from None

    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=refuse):
        place = os.path.realpath(folder)
        if place in seen:
            subfolders.clear()
            continue
        seen.add(place)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith((".", "__MACOSX")))
        for name in subfolders:
            reach.resolve(Path(folder, name))
        yield Path(folder), sorted(name for name in names if not name.startswith("."))


class Companions:
    """The captions and masks of a folder, which have the stem of their picture however accents are encoded in it."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.folder = folder
        self.pictures = {nfc(Path(n).stem) for n in names if Path(n).suffix.lower() in SUFFIXES}
        self.captions: dict[str, str] = {}
        for suffix in reversed(CAPTION_SUFFIXES):  # reversed: of two captions for a picture, .txt replaces .caption
            self.captions |= {nfc(Path(n).stem): n for n in names if Path(n).suffix.lower() == suffix}
        self.masks = {nfc(Path(n).stem): n for n in names if is_mask(n)}

    def caption(self, picture: str) -> Path | None:
        """The caption file of a picture, by the picture's name."""
        name = self.captions.get(nfc(Path(picture).stem))
        return self.folder / name if name else None

    def mask(self, picture: str) -> Path | None:
        """The mask of a picture, by the picture's name."""
        name = self.masks.get(nfc(Path(picture).stem) + MASK_ENDING)
        return self.folder / name if name else None

    def spare(self) -> list[str]:
        """Caption files without a picture."""
        return [name for stem, name in self.captions.items() if stem not in self.pictures]


def is_mask(name: str) -> bool:
    return name.lower().endswith(MASK_ENDING + ".png")


def folder_repeats(within: Path) -> int:
    """How often the pictures of a subfolder count: in "10_cat", and in folders within it, ten times."""
    for part in reversed(within.parts):
        match = REPEATS.match(part)
        if match:
            return max(1, int(match.group(1)))
    return 1


def one_spelling(path: Path) -> str:
    """The same text for every spelling of a path: absolute, without "..", and with accents encoded in one way."""
    return nfc(os.path.normpath(path.absolute()))


def nfc(text: str) -> str:
    """A text with its accents encoded in one way: file systems differ in how they spell them."""
    return unicodedata.normalize("NFC", text)
