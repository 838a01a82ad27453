"""The pictures that are being prepared on the page: copies in a folder of our own, with captions and masks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..data.captions import LONGEST_CAPTION
from ..data.images import Picture, decode, read_image
from ..data.sources.folders import MASK_ENDING, SUFFIXES
from ..errors import BadInput
from ..files.atomic import write_bytes
from ..files.reach import Reach
from ..files.reading import CAPTION, PICTURE, read
from ..files.text import read_text
from ..files.wording import listing, printable

MOST_PICTURES = 500
NAMES = "names.json"  # what the pictures were called, for people to see


@dataclass(frozen=True)
class Draft:
    """A folder with pictures called 0001.png and so on: no name of somebody else becomes one of a file."""

    folder: Path

    def pictures(self) -> list[Path]:
        """The pictures in their order."""
        if not self.folder.is_dir():
            return []
        found = [file for file in self.folder.iterdir() if file.suffix in SUFFIXES and not is_mask(file)]
        return sorted(found)

    def names(self) -> dict[str, str]:
        """What each picture was called, by the name of its file."""
        file = self.folder / NAMES
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    def add(self, files: Sequence[str | Path]) -> list[str]:
        """Copy pictures in; returns a line for each that is none. Raises BadInput where they would be too many.

        A text file beside others, cat.txt for cat.png, is its caption; cat.mask.png is its mask.
        """
        given = [Path(file) for file in files]
        pictures = [file for file in given if file.suffix.lower() in SUFFIXES and not is_mask(file)]
        count = len(self.pictures()) + len(pictures)
        if count > MOST_PICTURES:
            raise BadInput(f"{count} pictures are too many for this page, which takes {MOST_PICTURES}; choose some")
        problems = []
        names = self.names()
        by_stem: dict[str, Path] = {}
        for file in pictures:
            try:
                by_stem[file.stem] = self.copy(file, names)
            except BadInput as problem:
                problems.append(str(problem).replace(printable(file), printable(file.name)))
        for file in given:
            own = by_stem.get(file.stem.removesuffix(MASK_ENDING))
            if own and file.suffix.lower() == ".txt":
                self.caption(own.name, read_text(file, CAPTION, printable(file.name)))
            elif own and is_mask(file):
                self.mask(own.name, decode(Picture.at(file)).image.convert("L"))
        write_bytes(json.dumps(names, ensure_ascii=False).encode(), self.folder / NAMES)
        return problems

    def copy(self, file: Path, names: dict[str, str]) -> Path:
        """Copy one picture, after it was read whole; raises BadInput for what is none."""
        name = printable(file.name)
        payload = read(file, PICTURE, name)
        decode(Picture(name, lambda: payload))
        numbers = [int(each.stem) for each in self.pictures()]
        place = self.folder / f"{max(numbers, default=0) + 1:04d}{file.suffix.lower()}"
        write_bytes(payload, place)
        names[place.name] = name
        return place

    def add_folder(self, folder: str, reach: Reach) -> list[str]:
        """Copy what lies in a folder; raises BadInput where it may not be read, or is none."""
        place = reach.resolve(folder.strip())
        if not place.is_dir():
            raise BadInput(f"{printable(folder)} is not a folder; write the path of one")
        found = sorted(file for file in place.iterdir() if file.suffix.lower() in {*SUFFIXES, ".txt"})
        files = [file for file in found if reach.resolve(file).is_file()]
        if not any(file.suffix.lower() in SUFFIXES for file in files):
            raise BadInput(f"{printable(folder)} holds no pictures; name the folder in which they lie")
        return self.add(files)

    def captions(self) -> list[tuple[str, str]]:
        """Each picture's file and its own caption, "" where it has none."""
        return [(file.name, self.caption_of(file)) for file in self.pictures()]

    def caption_of(self, picture: Path) -> str:
        file = picture.with_suffix(".txt")
        return read_text(file, CAPTION).strip() if file.exists() else ""

    def caption(self, name: str, text: str) -> None:
        """Give a picture a caption, or none with ""; raises BadInput for one that is too long."""
        picture = self.named(name)
        text = " ".join(text.split())
        if len(text) > LONGEST_CAPTION:
            raise BadInput(f"a caption has {len(text):,} letters, and at most {LONGEST_CAPTION:,}; shorten it")
        if text:
            write_bytes(text.encode(), picture.with_suffix(".txt"))
        else:
            picture.with_suffix(".txt").unlink(missing_ok=True)

    def mask(self, name: str, mask: Image.Image | None) -> None:
        """Give a picture a mask, of which white is the subject, or none."""
        picture = self.named(name)
        place = picture.with_name(f"{picture.stem}{MASK_ENDING}.png")
        if mask is None:
            place.unlink(missing_ok=True)
            return
        mask.convert("L").save(place)

    def upload_mask(self, name: str, file: str | Path) -> None:
        """Give a picture the mask of a file; raises BadInput for what is no picture."""
        self.mask(name, read_image(Picture(printable(Path(file).name), lambda: read(Path(file), PICTURE))))

    def image(self, name: str) -> Image.Image:
        """A picture as RGB."""
        return read_image(Picture.at(self.named(name)))

    def remove(self, name: str) -> None:
        """Take a picture out, with its caption and mask."""
        self.caption(name, "")
        self.mask(name, None)
        self.named(name).unlink()

    def clear(self) -> None:
        """Take all out; runs have copies of their own only while they read."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def named(self, name: str) -> Path:
        """The picture of this name; raises BadInput where there is none."""
        for file in self.pictures():
            if file.name == name:
                return file
        there = listing([file.name for file in self.pictures()])
        raise BadInput(f"there is no picture '{printable(name)}'; choose one of {there}")


def is_mask(file: Path) -> bool:
    return file.stem.endswith(MASK_ENDING)
