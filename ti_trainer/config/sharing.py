"""What an embedding file says of itself to those who get it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date as Date

from ..errors import BadInput
from ..files.wording import flag, printable
from .fields import Settings, setting

TODAY = "today"


def check_date(text: str) -> None:
    """Raises BadInput for what is neither a day that there is nor TODAY."""
    if text == TODAY:
        return
    try:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            raise ValueError
        Date.fromisoformat(text)
    except ValueError:
        cure = f"write it as 2026-11-30, or {TODAY}"
        raise BadInput(f"{flag('date')} is '{printable(text)}', which is no day; {cure}") from None


@dataclass(frozen=True, kw_only=True)
class SharingConfig(Settings):
    """What is told of an embedding, in its file."""

    description: str | None = setting(None, free_on_resume=True, group="what the file says of itself")
    """What it is, in a sentence or two."""

    author: str | None = setting(None, free_on_resume=True)
    """Who has made it."""

    license: str | None = setting(None, free_on_resume=True)
    """Under which licence it may be used, such as CC-BY-4.0."""

    tags: tuple[str, ...] = setting((), free_on_resume=True)
    """Words by which it is found, without commas."""

    date: str | None = setting(None, check=check_date, free_on_resume=True)
    """When it was made: a day such as 2026-11-30, or today; without one, the same settings give the same bytes."""

    thumbnail: bool = setting(False, free_on_resume=True)
    """Put what it draws into the file, as a picture of 256 pixels, for programs that show one (SwarmUI); not without
    plots."""
