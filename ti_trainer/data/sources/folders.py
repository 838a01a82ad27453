"""Where pictures and their captions come from: folders, lists, and what the library `datasets` reads."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from ...errors import BadInput
from ...files.wording import listing, printable
from ..images import Picture
from .lists import ANY_COLUMNS, Columns, ListedPicture, read_list
from .tables import TABLE_SUFFIXES, holds_tables, is_saved_dataset, read_table

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif"}  # the content decides
)
FOREIGN = frozenset({".heic", ".heif", ".jxl", ".psd", ".svg", ".dng", ".cr2", ".nef", ".arw", ".mp4", ".mov"})
CAPTION_SUFFIXES = (".txt", ".caption")
METADATA = ("metadata.jsonl", "metadata.csv")
MASK_ENDING = ".mask"
MASK_MODES = ("auto", "alpha", "none")
REPEATS = re.compile(r"(\d{1,3})_")  # kohya's "10_cat"; four digits are a year


@dataclass(frozen=True)
class Found:
    """A picture that somebody brought and what lies beside it; its bytes and its text file are not read yet."""

    picture: Picture
    place: PurePath  # within its source
    captions: tuple[str, ...] = ()  # from a list, a metadata file or a column
    caption_file: Path | None = None
    mask_file: Path | None = None
    repeats: int = 1


@dataclass(frozen=True)
class Findings:
    """The pictures of a source in the order of their names, and lines about what was left alone there."""

    found: list[Found]
    notes: list[str] = field(default_factory=list)


def find_pictures(
    images: str, columns: Columns = ANY_COLUMNS, masks: str | None = None, flag: str = "--images"
) -> Findings:
    """All pictures of a source; masks: a folder whose pictures are masks, also where it lies within the source.

    Raises BadInput, naming the flag, when there are none, or when a list that belongs to them cannot be read.
    """
    path, source = Path(images), f"{flag} {printable(images)}"
    suffix = path.suffix.lower()
    if path.is_dir() and not is_saved_dataset(path):
        findings = look_through(path, columns, masks)
        if not findings.found and holds_tables(path):
            findings = table_findings(images, columns, source)
    elif suffix == ".jsonl" and path.is_file():
        rows = read_list(path, columns)
        findings = Findings(
            [Found(Picture.at(r.path), PurePath(r.name), r.captions, None, beside(r.path)) for r in rows]
        )
    elif path.is_dir() or (suffix in TABLE_SUFFIXES and path.is_file()):
        findings = table_findings(images, columns, source)
    elif path.exists():
        raise BadInput(f"{source} is not a folder; give the folder that holds the pictures")
    elif re.fullmatch(r"[\w.-]+/[\w.-]+", images) and not path.parent.exists():  # the form of a hub id
        findings = table_findings(images, columns, source)
    else:
        raise BadInput(f"{source} does not exist; give a folder of pictures")
    if not findings.found:
        kinds = ", ".join(sorted(SUFFIXES))
        raise BadInput("\n".join([*findings.notes, f"{source} holds no pictures ({kinds})"]))
    return findings


def table_findings(images: str, columns: Columns, source: str) -> Findings:
    rows = read_table(images, columns, source)
    return Findings([Found(row.picture, PurePath(row.name), row.captions) for row in rows])


def beside(picture: Path) -> Path | None:
    """The mask beside a picture that a list names."""
    mask = picture.with_name(f"{picture.stem}{MASK_ENDING}.png")
    return mask if mask.is_file() else None


def look_through(root: Path, columns: Columns, masks: str | None) -> Findings:
    """The pictures of a folder and of its subfolders."""
    if masks and os.path.realpath(masks) == os.path.realpath(root):
        raise BadInput(
            f"--masks {printable(masks)} is the folder of the pictures; masks in it, NAME.mask.png, are found"
        )
    found, unused, spare, foreign = [], [], [], []
    repeating: dict[str, int] = {}
    folders = list(walk(root, Path(masks) if masks else None))
    listed = {key(row.path): row for folder, names in folders for row in read_metadata(folder, names, columns)}
    for folder, names in folders:
        companions = Companions(folder, names)
        within = folder.relative_to(root)
        repeats = folder_repeats(within)
        foreign += [printable(folder / name) for name in names if Path(name).suffix.lower() in FOREIGN]
        spare += [printable(folder / name) for name in companions.spare()]
        for name in names:
            if Path(name).suffix.lower() not in SUFFIXES or is_mask(name):
                continue
            row, caption_file = listed.pop(key(folder / name), None), companions.caption(name)
            captions = row.captions if row else ()
            if captions and caption_file:
                unused.append(printable(caption_file))
                caption_file = None
            picture, mask = Picture.at(folder / name), companions.mask(name)
            found.append(Found(picture, within / name, captions, caption_file, mask, repeats))
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


def read_metadata(folder: Path, names: list[str], columns: Columns) -> list[ListedPicture]:
    """The lines of a folder's metadata file, if it has one."""
    files = [name for name in METADATA if name in names]
    if len(files) > 1:
        raise BadInput(f"{printable(folder)} has {' and '.join(files)}; keep one of them")
    return [row for name in files for row in read_list(folder / name, columns)]


def find_masks(folder: str) -> dict[str, Path]:
    """The masks in a folder, by the path that their pictures have without the suffix."""
    root = Path(folder)
    if not root.is_dir():
        raise BadInput(f"--masks is '{printable(folder)}': choose {', '.join(MASK_MODES)}, or a folder of masks")
    masks = {}
    for place, names in walk(root, None):
        for name in names:
            if Path(name).suffix.lower() in SUFFIXES:
                stem = nfc(Path(name).stem).removesuffix(MASK_ENDING)
                masks[(place.relative_to(root) / stem).as_posix()] = place / name
    return masks


def find_mask(found: Found, masks: Mapping[str, Path]) -> Path | None:
    """A picture's mask: at the same place in its folder, or right in it."""
    place = nfc(found.place.with_suffix("").as_posix())
    return masks.get(place, masks.get(nfc(found.place.stem)))


def walk(root: Path, avoid: Path | None) -> Iterator[tuple[Path, list[str]]]:
    """Each folder once, however links lead to it, with the names of its files; hidden ones are passed by."""
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
        yield Path(folder), sorted(name for name in names if not name.startswith("."))


class Companions:
    """The files of a folder that belong to pictures of the same stem, whichever way their accents are encoded."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.folder, self.pictures = folder, {nfc(Path(n).stem) for n in names if Path(n).suffix.lower() in SUFFIXES}
        self.captions: dict[str, str] = {}
        for suffix in reversed(CAPTION_SUFFIXES):  # the first one wins
            self.captions |= {nfc(Path(n).stem): n for n in names if Path(n).suffix.lower() == suffix}
        self.masks = {nfc(Path(n).stem): n for n in names if is_mask(n)}

    def caption(self, picture: str) -> Path | None:
        name = self.captions.get(nfc(Path(picture).stem))
        return self.folder / name if name else None

    def mask(self, picture: str) -> Path | None:
        name = self.masks.get(nfc(Path(picture).stem) + MASK_ENDING)
        return self.folder / name if name else None

    def spare(self) -> list[str]:
        """Caption files without a picture."""
        return [name for stem, name in self.captions.items() if stem not in self.pictures]


def is_mask(name: str) -> bool:
    return name.lower().endswith(MASK_ENDING + ".png")


def folder_repeats(within: Path) -> int:
    """How often pictures of a subfolder count: "10_cat" ten times, also for the folders in it."""
    for part in reversed(within.parts):
        match = REPEATS.match(part)
        if match:
            return max(1, int(match.group(1)))
    return 1


def key(path: Path) -> str:
    """One spelling for one file, also where a list and the disk encode accents differently."""
    return nfc(os.path.normpath(path.absolute()))


def nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)
