"""Paths that are URLs, such as s3://bucket/runs: telling them from local paths, opening them, explaining errors.

fsspec is imported when the first URL is opened, so that programs without URLs start faster.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import BadInput, Unavailable
from .wording import flag, printable

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

# A scheme has two letters or more, because C:\x is a path on a drive. "zip::x" is how fsspec reads files within files.
URL = re.compile(r"(?:[\w+.-]+::)*(?P<scheme>[A-Za-z][\w+.-]+)://|[\w+.-]+::")


@dataclass(frozen=True)
class Scheme:
    """What stands before :// in a URL that may be opened."""

    library: str = ""  # the packages that fsspec needs for it
    # It has no folders, only names with slashes. Making a folder there could make the bucket of a misspelt URL.
    is_bucket: bool = False
    is_local: bool = False  # what follows is a path on this machine


# fsspec knows many more: some have run code that a URL names (reference), unpack without an end (zip), or reach
# whatever this machine reaches (webhdfs, ftp, smb).
SCHEMES: dict[str, Scheme] = {
    "s3": Scheme("s3fs", is_bucket=True),
    "gs": Scheme("gcsfs", is_bucket=True),
    "az": Scheme("adlfs", is_bucket=True),
    "abfs": Scheme("adlfs", is_bucket=True),
    "hf": Scheme(),
    "https": Scheme("aiohttp requests"),
    "file": Scheme(is_local=True),
    "local": Scheme(is_local=True),
}
BUCKETS = frozenset(name for name, scheme in SCHEMES.items() if scheme.is_bucket)

# Exceptions of botocore and google.auth, which fsspec passes on; by name, because the libraries may not be installed.
DENIALS = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "DefaultCredentialsError", "RefreshError"}
)


def is_remote(path: str) -> bool:
    """Whether a path is a URL: s3://bucket/runs and also file:///x and zip::x, but not runs, C:\\runs or file:x."""
    return URL.match(path) is not None


def scheme_of(url: str, setting: str) -> str:
    """What stands before :// in a URL; setting: the one that holds it.

    Raises BadInput where that is none of SCHEMES, and for files in other files ("zip::s3://bucket/cats.zip").
    """
    match = URL.match(url)
    name = (match["scheme"] or "").lower() if match else ""
    if "::" in url:
        raise BadInput(f"{flag(setting, url)} leads through '::' into another file; give the folder itself")
    if name not in SCHEMES:
        raise BadInput(f"{flag(setting, url)}: {name}:// is not opened; choose s3://, gs://, az:// or a local folder")
    return name


def local_path(path: str) -> str | None:
    """The path on this machine that file:///PATH or local:///PATH names, or a path that is no URL; None for others."""
    if not is_remote(path):
        return path
    name, _, rest = path.partition("://")
    scheme = SCHEMES.get(name.lower())
    return rest if scheme and scheme.is_local and "::" not in path else None


def open_url(url: str, setting: str, **options: Any) -> tuple[AbstractFileSystem, str]:
    """The filesystem of a URL, and the path of the URL in it; nothing is read yet. Every URL is opened here.

    setting: the one that holds the URL; options: of fsspec's filesystem. Raises BadInput, naming both, as `scheme_of`
    does, where the library of the scheme is not installed, and for a URL without a bucket.
    """
    shown = flag(setting, url)
    name = scheme_of(url, setting)
    scheme = SCHEMES[name]
    try:
        from fsspec.core import url_to_fs

        filesystem, root = url_to_fs(url, **options)
    except ImportError as error:
        cure = f"pip install {scheme.library}" if scheme.library else error
        raise BadInput(f"{shown}: the library for {name}:// is not installed: {cure}") from None
    except Exception as error:  # each filesystem has its own
        raise failure(error, printable(shown), "opened") from error
    root = str(root).rstrip("/")
    if scheme.is_bucket and not root.strip("/"):
        raise BadInput(f"{shown} names no bucket; write {name}://BUCKET/FOLDER")
    return filesystem, root


def protocols(filesystem: AbstractFileSystem) -> tuple[str, ...]:
    """The names of a filesystem's protocol, such as ("s3", "s3a")."""
    names = filesystem.protocol
    return (names,) if isinstance(names, str) else tuple(names)


@contextmanager
def explained(place: str, done: str) -> Iterator[None]:
    """Turn what a filesystem raises inside the block into BadInput or OSError that names place, cause and cure.

    place: as the user wrote it; done: what could not be done with it, such as "read" or "written".
    """
    try:
        yield
    except BadInput:
        raise
    except Exception as error:  # botocore's, aiohttp's, google.auth's: each library has its own
        raise failure(error, printable(place), done) from error


def failure(error: Exception, place: str, done: str) -> Exception:
    """The exception to raise in place of a filesystem's, see `explained`."""
    said = getattr(error, "strerror", None) or str(error)
    reason = (said.strip().splitlines() or [type(error).__name__])[0]
    cannot = f"{place} cannot be {done}"
    if isinstance(error, PermissionError) or type(error).__name__ in DENIALS:
        return Unavailable(
            f"{cannot}: access is denied ({reason}); check its rights or, for a bucket, your credentials"
        )
    if isinstance(error, FileNotFoundError):
        return Unavailable(f"{cannot}: there is no such bucket or folder ({reason}); create it, or correct the path")
    if isinstance(error, (FileExistsError, NotADirectoryError, IsADirectoryError)):
        return Unavailable(
            f"{cannot}: a file is in the way of a folder, or a folder of a file ({reason}); move it away"
        )
    if isinstance(error, NotImplementedError):
        return BadInput(f"{cannot}: that kind of URL does not allow it; choose a bucket or a folder")
    return OSError(f"{cannot}: {reason}; when the cause is gone, run the same command again")
