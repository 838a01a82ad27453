"""Which names the folder of a run may have: those that are one folder of their own on every system."""

from __future__ import annotations

import re
import unicodedata

MANIFEST = "manifest"  # the folder beside those of runs that lists what is done
NAME = re.compile(r"[\w-][\w.-]*")  # no hidden files, no way out of the folder
MOST_BYTES = 200  # of 255: names of files get an ending, and a beginning and an ending while they are written
# Windows keeps these for devices, whatever follows their first dot
PORTS = [f"{port}{number}" for port in ("com", "lpt") for number in range(10)]
DEVICES = frozenset({"con", "prn", "aux", "nul", *PORTS})


def name_problem(name: str) -> str | None:
    """What keeps a name from being that of a run's folder, to follow the name; None where nothing does."""
    if not NAME.fullmatch(name):
        return "cannot be the name of a folder; use letters, digits, '-', '_' and '.'"
    if len(name.encode()) > MOST_BYTES:
        return f"has {len(name.encode())} bytes, and {MOST_BYTES} is the most for the name of a folder"
    if name.endswith("."):
        return "ends with a dot, which Windows leaves out"
    plain = folded(name)
    if plain.partition(".")[0] in DEVICES:
        return "is a name that Windows keeps for a device"
    if plain == MANIFEST:
        return "is the folder that lists what is done"
    return None


def folded(name: str) -> str:
    """The name without the differences that some disks do not see: of case, and of the ways to write a character."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
