"""Pictures behind a URL, copied to this machine."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ...errors import BadInput
from ...files.reach import EVERYWHERE, Reach
from ...files.remote import explained, is_remote, local_path, protocols
from ...files.wording import flag, printable
from .folders import MASK_ENDING
from .lists import ANY_COLUMNS, Columns, read_list

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

# A path that leads out of the folder that it is relative to: it has a part "..", or begins with a drive of Windows.
LEADS_OUT = re.compile(r"(^|[/\\])\.\.($|[/\\])|^[A-Za-z]:")

# of what is copied for a concept of a list; people train on some dozens of pictures
MOST_FILES = 2_000
MOST_BYTES = 2 * 2**30
BLOCK = 2**20  # bytes that are read at a time


def fetch(
    images: str,
    scratch: Path,
    columns: Columns = ANY_COLUMNS,
    setting: str = "images",
    reach: Reach = EVERYWHERE,
) -> str:
    """The local path of a copy of what lies at a URL; local paths, also file:///PATH, and hub ids are not copied.

    At the URL may be a folder, a parquet file, or a .jsonl file, with which the pictures that it names are copied too.
    Hidden files are left out, as they are in local folders; files that a parquet file names are not copied. The copy is
    made by the first call, in a folder of `scratch` that is named after the URL, completely or not at all; later
    changes behind the URL are not noticed. reach: what may be read; a limited one bounds what is copied. Raises
    BadInput, naming the setting, when nothing is at the URL or when it may not be read, and OSError when copying fails.
    """
    path = local_path(images)
    if path is not None:
        return path
    shown = flag(setting, images)
    name = re.sub(r"[^\w.-]", "_", PurePosixPath(images).name).lstrip(".") or "pictures"
    home = scratch / hashlib.sha256(images.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    if not (home / name).exists():
        filesystem, root = reach.open_url(images, setting)
        scratch.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=scratch, prefix=f".{home.name}."))
        try:
            with explained(shown, "read"):
                Copy(filesystem, shown, reach.is_limited).make(root, unfinished / name, columns)
            os.chmod(unfinished, 0o755)  # mkdtemp makes folders that only their owner can read
            try:
                os.rename(unfinished, home)
            except OSError:
                if not (home / name).exists():  # otherwise another process has made the same copy
                    raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return str(home / name)


class Copy:
    """A copy of a folder, a file, or a list with its pictures."""

    def __init__(self, filesystem: AbstractFileSystem, shown: str, is_bounded: bool) -> None:
        """shown: setting and URL for messages; is_bounded: no more than MOST_FILES and MOST_BYTES are copied."""
        self.filesystem = filesystem
        self.shown = shown
        self.is_bounded = is_bounded
        self.files = 0
        self.bytes = 0

    def make(self, root: str, target: Path, columns: Columns) -> None:
        """Copy what lies at `root`, and what a list there names, to `target`."""
        self.filesystem.invalidate_cache()
        try:
            is_file = self.filesystem.info(root)["type"] == "file"
        except FileNotFoundError:
            raise BadInput(
                f"{self.shown} does not exist; give a folder of pictures, a .jsonl or a .parquet file"
            ) from None
        if not is_file:
            names = files_in(self.filesystem, root)
            if not names:
                raise BadInput(f"{self.shown} is empty; give a folder of pictures")
            self.get(root, names, target)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        self.get_files([root], [target])
        if target.suffix.lower() == ".jsonl":
            folder = root.rpartition("/")[0]
            listed = [row.name for row in read_list(target, columns)]
            self.get(folder, listed_files(self.filesystem, folder, listed, self.shown), target.parent)

    def get(self, root: str, names: list[str], target: Path) -> None:
        """Copy files into a folder; raises BadInput for names that lead out of it, which buckets allow."""
        for name in names:
            if LEADS_OUT.search(name):
                raise BadInput(
                    f"{self.shown} has a file '{printable(name)}', which would lie outside its folder; rename it"
                )
            (target / name).parent.mkdir(parents=True, exist_ok=True)
        self.get_files([f"{root}/{name}" for name in names], [target / name for name in names])

    def get_files(self, sources: list[str], targets: list[Path]) -> None:
        if not self.is_bounded:
            # With two lists, fsspec does not interpret names as patterns, and copies several files at a time.
            self.filesystem.get(sources, [str(target) for target in targets])
            return
        self.files += len(sources)
        if self.files > MOST_FILES:
            raise BadInput(
                f"{self.shown} has more than {MOST_FILES:,} files, which is too much for a concept of a list"
            )
        for source, target in zip(sources, targets, strict=True):
            # bytes are counted as they come: what a server says of sizes need not be true
            with self.filesystem.open(source, "rb") as theirs, target.open("wb") as ours:
                while block := theirs.read(BLOCK):
                    self.bytes += len(block)
                    if self.bytes > MOST_BYTES:
                        most = MOST_BYTES // 2**30
                        raise BadInput(f"{self.shown} has more than {most} GiB, too much for a concept of a list")
                    ours.write(block)


def files_in(filesystem: AbstractFileSystem, root: str) -> list[str]:
    """The files of a folder and its subfolders that are not hidden, as paths relative to the folder."""
    names = [within(root, path) for path in filesystem.find(root)]
    return [
        name
        for name in names
        if name and not name.endswith("/") and not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
    ]


def listed_files(filesystem: AbstractFileSystem, folder: str, names: list[str], shown: str) -> list[str]:
    """Those of the named files that exist, and the masks beside them; missing pictures are an error of the reader.

    Raises BadInput for names that lead out of the folder.
    """
    for name in names:
        if is_remote(name) or PurePosixPath(name).is_absolute() or LEADS_OUT.search(name):
            raise BadInput(f"{shown} names '{printable(name)}'; pictures of a list behind a URL lie in its folder")
    wanted = [str(PurePosixPath(name)) for name in names]
    masks = [str(PurePosixPath(name).with_name(f"{PurePosixPath(name).stem}{MASK_ENDING}.png")) for name in names]
    there: set[str] = set()
    if "https" in protocols(filesystem):  # servers do not tell what lies in a folder
        return [name for name in dict.fromkeys([*wanted, *masks]) if filesystem.exists(f"{folder}/{name}")]
    for parent in sorted({str(PurePosixPath(name).parent) for name in names}):
        try:
            listed = filesystem.ls(folder if parent == "." else f"{folder}/{parent}", detail=False)
        except FileNotFoundError:
            continue
        there.update(within(folder, str(path)) for path in listed)
    return [name for name in dict.fromkeys([*wanted, *masks]) if name in there]


def within(root: str, path: str) -> str:
    """A path of a filesystem relative to `root`."""
    return path.removeprefix(root).lstrip("/")
