"""What may be read for a concept: everything, or, if a list asks for it, what whoever trains has opened to lists."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Refused
from .addresses import leads_inside, public_client
from .remote import is_remote, open_url, scheme_of
from .wording import flag, printable

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


OWN_WORD = "put the concept under 'concepts:' in a config of your own"
PLAIN_HTTPS = re.compile(r"(?i:https)://(?P<host>[\w.-]+)(:\d+)?(/[^\s\\]*)?")


@dataclass(frozen=True)
class Reach:
    """Folders, files and URLs that may be read, with all that lies in them. Without `roots` that is everything.

    Paths and URLs are opened through it: links are followed first, and the place where they lead is judged.
    """

    roots: tuple[str, ...] | None = None  # paths without links in them, and URLs without a slash at their end
    hosts: frozenset[str] = frozenset()  # servers of https:// that may be asked though they are not public

    @classmethod
    def within(cls, places: Iterable[str | Path], hosts: Iterable[str] = ()) -> Reach:
        """What lies in these folders and URLs, the files among them, and whatever public servers give by https."""
        return cls(tuple(dict.fromkeys(map(as_root, places))), frozenset(host.lower() for host in hosts))

    @property
    def is_limited(self) -> bool:
        return self.roots is not None

    def including(self, *places: str | Path) -> Reach:
        """This reach, and these places too."""
        if self.roots is None:
            return self
        return replace(self, roots=tuple(dict.fromkeys([*self.roots, *map(as_root, places)])))

    def resolve(self, path: str | Path) -> Path:
        """The path to open; of a limited reach without links in it. Raises Refused where it leads out of the reach."""
        if self.roots is None:
            return Path(path)
        place = Path(os.path.realpath(path))
        if any(place.is_relative_to(root) for root in self.roots):
            return place
        raise Refused(
            f"{printable(path)} leads out of the folders that a list of concepts may read; add "
            f"{flag('trusted_roots', 'DIR')} with a folder around it, or {OWN_WORD}"
        )

    def open_url(self, url: str, setting: str) -> tuple[AbstractFileSystem, str]:
        """As `remote.open_url`; raises Refused, too, for a URL that is not in the reach."""
        if self.roots is None:
            return open_url(url, setting)
        if scheme_of(url, setting) == "https":
            return open_url(url, setting, **self.options_for(url, setting))
        if not self.has_url(url):  # buckets and the hub are opened with the credentials of whoever trains
            raise Refused(
                f"{flag(setting, url)} is in no bucket that a list of concepts may read; add "
                f"{flag('trusted_roots', 'URL')} with what it begins with, or {OWN_WORD}"
            )
        return open_url(url, setting)

    def has_url(self, url: str) -> bool:
        """Whether a URL is one of the roots or lies in one."""
        return ".." not in url.split("/") and any(
            url == root or url.startswith(f"{root}/") for root in self.roots or ()
        )

    def options_for(self, url: str, setting: str) -> dict[str, Any]:
        """What fsspec needs so that a URL of https:// leads to public servers only, or to one of the hosts."""
        parts = PLAIN_HTTPS.fullmatch(url)
        if not parts:  # others mean one server to one program and another to the next
            raise Refused(f"{flag(setting, url)} is no plain URL; write https://SERVER/FOLDER/FILE")
        host = parts["host"].lower()
        if host in self.hosts:
            return {}
        if leads_inside(host):
            raise Refused(
                f"{flag(setting, url)}: a list of concepts may ask public servers only; add "
                f"{flag('trusted_hosts', host)}, or {OWN_WORD}"
            )
        return {"get_client": public_client}


EVERYWHERE = Reach()


def as_root(place: str | Path) -> str:
    text = str(place)
    return text.rstrip("/") if is_remote(text) else os.path.realpath(text)
