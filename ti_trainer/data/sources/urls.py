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
from ...files.remote import explained, is_remote, open_url
from ...files.wording import flag, printable
from .folders import MASK_ENDING
from .lists import ANY_COLUMNS, Columns, read_list

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

# A path that leads out of the folder that it is relative to: it has a part "..", or begins with a drive of Windows.
LEADS_OUT = re.compile(r"(^|[/\\])\.\.($|[/\\])|^[A-Za-z]:")


def fetch(images: str, scratch: Path, columns: Columns = ANY_COLUMNS, setting: str = "images") -> str:
    """The local path of a copy of what lies at a URL; local paths and hub ids are returned as they are.

    At the URL may be a folder, a parquet file, or a .jsonl file, with which the pictures that it names are copied too.
    Hidden files are left out, as they are in local folders; files that a parquet file names are not copied. The copy is
    made by the first call, in a folder of `scratch` that is named after the URL, completely or not at all; later
    changes behind the URL are not noticed. Raises BadInput, naming the setting, when nothing is at the URL or when it
    may not be read, and OSError when copying fails.
    """
    if not is_remote(images):
        return images
    shown = flag(setting, images)
    name = re.sub(r"[^\w.-]", "_", PurePosixPath(images).name).lstrip(".") or "pictures"
    home = scratch / hashlib.sha256(images.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    if not (home / name).exists():
        filesystem, root = open_url(images, setting)
        scratch.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=scratch, prefix=f".{home.name}."))
        try:
            with explained(shown, "read"):
                copy(filesystem, root, unfinished / name, columns, shown)
            os.chmod(unfinished, 0o755)  # mkdtemp makes folders that only their owner can read
            try:
                os.rename(unfinished, home)
            except OSError:
                if not (home / name).exists():  # otherwise another process has made the same copy
                    raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return str(home / name)


def copy(filesystem: AbstractFileSystem, root: str, target: Path, columns: Columns, shown: str) -> None:
    """Copy a folder, a file, or a list with its pictures to `target`; shown: setting and URL for messages."""
    filesystem.invalidate_cache()
    try:
        is_file = filesystem.info(root)["type"] == "file"
    except FileNotFoundError:
        raise BadInput(f"{shown} does not exist; give a folder of pictures, a .jsonl or a .parquet file") from None
    if not is_file:
        names = files_in(filesystem, root)
        if not names:
            raise BadInput(f"{shown} is empty; give a folder of pictures")
        get(filesystem, root, names, target, shown)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    filesystem.get_file(root, str(target))
    if target.suffix.lower() == ".jsonl":
        folder = root.rpartition("/")[0]
        listed = listed_files(filesystem, folder, [row.name for row in read_list(target, columns)], shown)
        get(filesystem, folder, listed, target.parent, shown)


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
    for parent in sorted({str(PurePosixPath(name).parent) for name in names}):
        try:
            listed = filesystem.ls(folder if parent == "." else f"{folder}/{parent}", detail=False)
        except FileNotFoundError:
            continue
        there.update(within(folder, str(path)) for path in listed)
    return [name for name in dict.fromkeys([*wanted, *masks]) if name in there]


def get(filesystem: AbstractFileSystem, root: str, names: list[str], target: Path, shown: str) -> None:
    """Copy files into a folder; raises BadInput for names that lead out of it, which buckets allow."""
    for name in names:
        if LEADS_OUT.search(name):
            raise BadInput(f"{shown} has a file '{printable(name)}', which would lie outside its folder; rename it")
        (target / name).parent.mkdir(parents=True, exist_ok=True)
    # With two lists, fsspec does not interpret names as patterns, and copies several files at a time.
    filesystem.get([f"{root}/{name}" for name in names], [str(target / name) for name in names])


def within(root: str, path: str) -> str:
    """A path of a filesystem relative to `root`."""
    return path.removeprefix(root).lstrip("/")
