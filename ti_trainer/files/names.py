"""Which tokens are allowed: those that can be file names on every system and words in every program."""

from __future__ import annotations

import re

from ..errors import BadInput
from .folder_names import MANIFEST, name_problem
from .wording import flag, printable

MAX_VECTORS = 75  # CLIP's window of 77 tokens without start and end


def check_token(token: str, known_word: bool = False) -> None:
    """Raises BadInput for a token that is not allowed, and suggests another one.

    known_word: the token is to be a word of the model, so the suggestion has no brackets.
    """
    stem = token.strip("<>")
    if not stem:
        raise BadInput(f"{flag('token')} is '{printable(token)}': choose a name such as '<my-cat>'")
    if re.fullmatch(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?", stem) and token in (stem, f"<{stem}>"):
        problem = name_problem(stem)  # a file gets it, whatever the folder is called
        if problem and stem != MANIFEST:
            raise BadInput(f"{flag('token')} is '{token}', and '{stem}' {problem}; choose another")
        return
    suggestion = re.sub(r"[^a-z0-9_]+", "-", stem.lower()).strip("-") or "my-cat"
    suggestion = suggestion if known_word else f"<{suggestion}>"
    raise BadInput(
        f"{flag('token')} is '{printable(token)}': WebUIs and diffusers read lower-case letters, digits, '_' and, "
        f"within, '-', with or without <> around them; '{printable(suggestion)}' would do"
    )


def token_of_step(token: str, step: int) -> str:
    """The token of the rows of one step: "<my-cat>" -> "<my-cat-000100>"."""
    stem = token.strip("<>")
    return token.replace(stem, f"{stem}-{step:06d}")
