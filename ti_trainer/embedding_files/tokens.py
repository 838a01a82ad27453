"""The names of embeddings in files: they may be any text, and become tokens here."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import BadInput
from ..files.names import check_token
from ..files.wording import flag

LONGEST = 128  # letters of a token, and of a word in a message


def usable_token(text: object) -> str | None:
    """A word from a file in lower case, or None when it cannot be a token (see `check_token`)."""
    if not isinstance(text, str) or len(text) > LONGEST:
        return None
    token = text.strip().lower()
    try:
        check_token(token)
    except BadInput:
        return None
    return token


def quoted(text: str) -> str:
    """A word from a file for a message: short, in quotes, with control characters written as escapes."""
    return repr(text[:LONGEST])


def token_of_file(path: Path) -> str:
    """The token for a file without one in it, from its name: "My Cat.pt" -> "<my-cat>"."""
    stem = re.sub(r"[^a-z0-9_]+", "-", path.stem.lower()).strip("-")[:LONGEST]
    return f"<{stem or 'embedding'}>"


def check_stem(stem: str) -> None:
    """Raises BadInput for a file name that cannot be a word in prompts, because WebUIs use the name as the word."""
    try:
        check_token(stem)
    except BadInput:
        stem_of_cure = token_of_file(Path(stem)).strip("<>")
        raise BadInput(
            f"{flag('output')} is named '{stem}', and WebUIs take the name as the word to write in prompts: use "
            "lower-case "
            f"letters, digits, '-' and '_'; '{stem_of_cure}' would do"
        ) from None
    if stem.startswith("<"):
        raise BadInput(f"{flag('output')} is named '{stem}': leave the brackets out of the name of a file")
