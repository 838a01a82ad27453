"""The output folder of a job, local or remote: what of it is published, and how a concept gets there."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import BadInput
from ..files.atomic import remove_unfinished, write_bytes
from ..files.folder_names import MANIFEST
from ..files.remote import BUCKETS, explained, is_remote, open_url, protocols
from ..files.wording import printable
from .manifest import FAILED, RECORD, Manifest, as_line, line_of, parse

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


class Backend(Protocol):
    """A folder; names in it are relative, with slashes."""

    def read_all(self, folder: str) -> dict[str, bytes]:
        """The .json files of a subfolder by the names before the suffix; none where there is no such folder."""

    def read(self, name: str) -> bytes | None: ...

    def write(self, name: str, payload: bytes) -> None: ...

    def copy(self, files: Mapping[str, Path]) -> None: ...

    def remove(self, name: str) -> None:
        """A file that is missing is fine."""

    def remove_unfinished(self, name: str) -> None:
        """Delete what dead writers left of a concept."""


class LocalFolder:
    """A folder of this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read_all(self, folder: str) -> dict[str, bytes]:
        try:
            files = os.listdir(self.path / folder)  # a glob would take a folder that cannot be read for an empty one
        except FileNotFoundError:
            return {}
        contents = {file: self.read(f"{folder}/{file}") for file in files if file.endswith(".json")}
        return {file.removesuffix(".json"): content for file, content in contents.items() if content is not None}

    def read(self, name: str) -> bytes | None:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, payload: bytes) -> None:
        write_bytes(payload, self.path / name)

    def copy(self, files: Mapping[str, Path]) -> None:
        """A file that lies where it belongs is left alone."""
        for name, source in files.items():
            target = self.path / name
            if not (target.exists() and target.samefile(source)):
                write_bytes(source.read_bytes(), target)

    def remove(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

    def remove_unfinished(self, name: str) -> None:
        remove_unfinished(self.path / name)
        remove_unfinished(self.path / MANIFEST, f"{name}.json")


class RemoteFolder:
    """A folder behind a URL."""

    def __init__(self, filesystem: AbstractFileSystem, root: str) -> None:
        self.filesystem = filesystem
        self.root = root
        self.has_folders = BUCKETS.isdisjoint(protocols(filesystem))

    def place(self, name: str) -> str:
        return f"{self.root}/{name}"

    def read_all(self, folder: str) -> dict[str, bytes]:
        self.filesystem.invalidate_cache()  # other machines publish too
        try:
            listed = self.filesystem.ls(self.place(folder), detail=False)
        except FileNotFoundError:
            return {}
        files = [str(file) for file in listed if str(file).endswith(".json")]
        if not files:
            return {}
        # cat_ranges, not cat: it takes a "[" in a name as it is; both read many files at once
        nowhere = [None] * len(files)
        contents = self.filesystem.cat_ranges(files, nowhere, nowhere, on_error="return")
        found = {}
        for file, content in zip(files, contents, strict=True):
            if isinstance(content, BaseException):
                if not isinstance(content, FileNotFoundError):  # withdrawn since the listing
                    raise content
            else:
                found[PurePosixPath(file).stem] = content
        return found

    def read(self, name: str) -> bytes | None:
        try:
            return self.filesystem.cat_file(self.place(name))
        except FileNotFoundError:
            return None

    def write(self, name: str, payload: bytes) -> None:
        """One put of an object, which buckets make visible whole or not at all."""
        self.make_folders([name])
        self.filesystem.pipe_file(self.place(name), payload)

    def copy(self, files: Mapping[str, Path]) -> None:
        self.make_folders(files)
        # two lists: then nothing in the names is taken for a pattern, and many files are sent at once
        self.filesystem.put([str(source) for source in files.values()], [self.place(name) for name in files])

    def make_folders(self, names: Mapping[str, Path] | list[str]) -> None:
        if self.has_folders:
            for folder in sorted({str(PurePosixPath(self.place(name)).parent) for name in names}):
                self.filesystem.makedirs(folder, exist_ok=True)

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self.filesystem.rm_file(self.place(name))

    def remove_unfinished(self, name: str) -> None:
        """There is nothing: an object is there whole or not at all."""


class Storage:
    """An output folder, local or remote. Nothing is read or written before a method says so.

    output: a folder, or a URL that fsspec knows (s3://bucket/runs). Methods raise BadInput for what the user can set
    right (rights, credentials, a bucket that is not there) and OSError for all else (a full disk, a lost connection);
    retries are the backend's. Raises BadInput for a URL of an unknown kind, or of one whose library is missing.
    """

    def __init__(self, output: str) -> None:
        self.output = output
        self.backend: Backend
        if not is_remote(output):
            self.backend = LocalFolder(Path(output))
            return
        filesystem, root = open_url(output, "output")
        if "file" in protocols(filesystem):
            self.backend = LocalFolder(Path(root or "/"))
        else:
            self.backend = RemoteFolder(filesystem, root)

    def manifest(self, names: Collection[str] | None = None) -> Manifest:
        """The manifest, of which damaged lines are as if absent; names: which lines are read, one by one.

        All of it is listed once and read in one go.
        """
        with explained(self.place(MANIFEST), "read"):
            if names is None:
                lines = self.backend.read_all(MANIFEST)
            else:
                found = {name: self.backend.read(f"{MANIFEST}/{name}.json") for name in names if RECORD.fullmatch(name)}
                lines = {name: line for name, line in found.items() if line is not None}
        return Manifest.of(lines)

    def published(self) -> Mapping[str, dict[str, Any]]:
        """What the manifest says of concepts that were learned."""
        return self.manifest().published

    def entry(self, name: str) -> dict[str, Any] | None:
        """The manifest's entry of one published concept; None where there is none, or a damaged one."""
        with explained(self.place(MANIFEST), "read"):
            line = self.backend.read(line_of(name))
        entry = None if line is None else parse(line)
        return None if entry is None or entry.get("status") == FAILED else entry

    def record_failure(self, name: str, entry: Mapping[str, Any]) -> None:
        """Write why something was not learned, unless an earlier attempt has published it; name: as RECORD has it."""
        if not RECORD.fullmatch(name):
            raise BadInput(f"'{printable(name)}' cannot be the name of a line in the manifest")
        line = f"{MANIFEST}/{name}.json"
        with explained(self.place(MANIFEST), "written"):
            there = self.backend.read(line)
            before = None if there is None else parse(there)
            if before is None or before.get("status") == FAILED:
                self.backend.write(line, as_line({**entry, "status": FAILED}))

    def forget_failure(self, name: str) -> None:
        """Remove the line of a failure that is none any more."""
        with explained(self.place(MANIFEST), "changed"):
            self.backend.remove(f"{MANIFEST}/{name}.json")

    def publish(self, name: str, files: Mapping[str, Path], entry: Mapping[str, Any]) -> None:
        """Copy files into the concept's folder, then write its line of the manifest.

        files: relative names with slashes -> local files. Files that lie in a local OUTPUT/NAME already are not copied.
        A second time, files of the same names and the line are replaced. If anything fails, there is no line. Numbers
        of the entry that are NaN or infinite, which JSON does not have, become null.
        """
        line = line_of(name)
        payload = as_line(entry)
        copies = {f"{name}/{checked_file(file)}": source for file, source in files.items()}
        missing = [str(source) for source in files.values() if not source.is_file()]
        if missing:
            raise FileNotFoundError(f"{missing[0]} is to be published as a file of '{name}' and is not there")
        with explained(self.place(name), "written"):
            # looked at first: who may write and not delete can still publish new concepts
            if self.backend.read(line) is not None:
                self.backend.remove(line)
            self.backend.copy(copies)
            try:
                self.backend.write(line, payload)
            except BaseException:
                with suppress(Exception):
                    self.backend.remove(line)
                raise

    def remove_unfinished(self, name: str) -> None:
        """Delete what writers that died left of a concept; the caller knows that nobody is publishing it."""
        self.backend.remove_unfinished(name)

    def read_file(self, name: str, file: str) -> bytes | None:
        """A published file of a concept; None where there is none."""
        with explained(self.place(name, file), "read"):
            return self.backend.read(f"{name}/{checked_file(file)}")

    def write_file(self, name: str, payload: bytes) -> None:
        """Write a file of the output itself, completely or not at all."""
        with explained(self.place(checked_file(name)), "written"):
            self.backend.write(name, payload)

    def withdraw(self, name: str) -> None:
        """Remove a concept's line from the manifest, if there is one; its files stay until they are replaced."""
        with explained(self.place(MANIFEST), "changed"):
            self.backend.remove(line_of(name))

    def place(self, name: str, file: str = "") -> str:
        """Where a concept's folder or one of its files lies, as the user writes it: s3://bucket/runs/my-cat/x.png."""
        if not is_remote(self.output):
            return str(Path(self.output, name, file))
        protocol, _, path = self.output.partition("://")
        return "/".join([f"{protocol}://{path.rstrip('/')}", name, *([file] if file else [])])


def checked_file(name: str) -> str:
    """A relative name; raises BadInput for one that leads out of its folder."""
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name:
        raise BadInput(f"'{name}' is no relative file name with slashes")
    return path.as_posix()
