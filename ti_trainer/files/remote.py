"""Folders behind a URL, such as s3://bucket/runs: how they are told from local ones, opened, and what went wrong there.

fsspec is imported when the first URL is opened: who has none does not wait for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import BadInput
from .wording import printable

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

# a drive (C:\x) has one letter; "zip::s3://" and the like are fsspec's way to look into files
URL = re.compile(r"(?:\w+::)*(?P<protocol>[A-Za-z][\w+.-]+)://")

LIBRARIES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "oss": "ossfs",
    "oci": "ocifs",
    "http": "aiohttp requests",
    "https": "aiohttp requests",
    "sftp": "paramiko",
    "ssh": "paramiko",
}

# They have no folders but names with slashes; to "make" a folder there would make the bucket of a misspelt URL.
BUCKETS = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci"})

# botocore's and google.auth's, which fsspec lets through; by name, because neither library need be there
DENIALS = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "DefaultCredentialsError", "RefreshError"}
)


def is_remote(path: str) -> bool:
    """Whether a path is a URL: s3://bucket/runs, memory://x and also file:///x, but not runs, C:\\runs or file:x."""
    return URL.match(path) is not None


def open_url(url: str, flag: str) -> tuple[AbstractFileSystem, str]:
    """The filesystem of a URL and the path that the URL has there; nothing is asked of it yet.

    flag: the setting that holds the URL. Raises BadInput, naming both, for a protocol that nobody knows, one whose
    library is not installed, and a URL without a bucket.
    """
    shown = f"{flag} {printable(url)}"
    match = URL.match(url)
    protocol = match["protocol"].lower() if match else ""
    try:
        from fsspec.core import url_to_fs

        filesystem, root = url_to_fs(url)
    except ImportError as error:
        library = LIBRARIES.get(protocol)
        cure = f"pip install {library}" if library else error
        raise BadInput(f"{shown}: the library for {protocol}:// is not installed: {cure}") from None
    except Exception as error:  # each filesystem's own, about its part of the URL
        if "Protocol not known" in str(error):
            raise BadInput(
                f"{shown}: nobody knows {protocol}://; choose s3://, gs://, az:// or a local folder"
            ) from None
        raise failure(error, shown, "opened") from error
    root = str(root).rstrip("/")
    if protocol in BUCKETS and not root.strip("/"):
        raise BadInput(f"{shown} names no bucket; write {protocol}://BUCKET/FOLDER")
    return filesystem, root


def protocols(filesystem: AbstractFileSystem) -> tuple[str, ...]:
    """What a filesystem calls itself: ("s3", "s3a")."""
    names = filesystem.protocol
    return (names,) if isinstance(names, str) else tuple(names)


@contextmanager
def explained(place: str, done: str) -> Iterator[None]:
    """What a filesystem raises in the block becomes BadInput or OSError that names the place, the cause and a cure.

    place: as the user writes it; done: what could not be done to it, as in "read" or "written".
    """
    try:
        yield
    except BadInput:
        raise
    except Exception as error:  # botocore's, aiohttp's, google.auth's: each library has its own
        raise failure(error, printable(place), done) from error


def failure(error: Exception, place: str, done: str) -> Exception:
    """The exception to raise in place of a filesystem's."""
    said = getattr(error, "strerror", None) or str(error)
    reason = (said.strip().splitlines() or [type(error).__name__])[0]
    cannot = f"{place} cannot be {done}"
    if isinstance(error, PermissionError) or type(error).__name__ in DENIALS:
        return BadInput(f"{cannot}: access is denied ({reason}); check its rights or, for a bucket, your credentials")
    if isinstance(error, FileNotFoundError):
        return BadInput(f"{cannot}: there is no such bucket or folder ({reason}); create it, or correct the path")
    if isinstance(error, (FileExistsError, NotADirectoryError, IsADirectoryError)):
        return BadInput(f"{cannot}: a file is in the way of a folder, or a folder of a file ({reason}); move it away")
    if isinstance(error, NotImplementedError):
        return BadInput(f"{cannot}: that kind of URL does not allow it; choose a bucket or a folder")
    return OSError(f"{cannot}: {reason}; when the cause is gone, run the same command again")
