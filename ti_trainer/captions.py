"""Captions: templates for pictures that have none, and tokens expanded to the names of their rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import BadInput

TOKEN_FIELD = "{token}"

TEMPLATES: dict[str, tuple[str, ...]] = {
    "object": (
        "a photo of a {token}",
        "a photo of the {token}",
        "the photo of a {token}",
        "a photo of my {token}",
        "a photo of one {token}",
        "a good photo of a {token}",
        "a good photo of the {token}",
        "a bright photo of the {token}",
        "a dark photo of the {token}",
        "a close-up photo of a {token}",
        "a close-up photo of the {token}",
        "a cropped photo of a {token}",
        "a photo of a nice {token}",
        "a photo of the cool {token}",
        "a photo of a clean {token}",
        "a photo of the weird {token}",
        "a picture of a {token}",
        "an image of a {token}",
        "a rendering of a {token}",
        "a rendition of the {token}",
    ),
    "style": (
        "a painting in the style of {token}",
        "a picture in the style of {token}",
        "an image in the style of {token}",
        "a rendering in the style of {token}",
        "a rendition in the style of {token}",
        "the painting in the style of {token}",
        "a good painting in the style of {token}",
        "a bright painting in the style of {token}",
        "a dark painting in the style of {token}",
        "a close-up painting in the style of {token}",
        "a cropped painting in the style of {token}",
        "a nice painting in the style of {token}",
        "a detailed painting in the style of {token}",
    ),
}


def load_templates(name: str) -> tuple[str, ...]:
    """The templates of that name, or the lines of that text file; raises BadInput when {token} is missing."""
    if name in TEMPLATES:
        return TEMPLATES[name]
    try:
        lines = [line.strip() for line in Path(name).read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError):
        raise BadInput(f"--templates is '{name}': choose {' or '.join(TEMPLATES)}, or a UTF-8 text file") from None
    templates = tuple(line for line in lines if line)
    for template in templates:
        if TOKEN_FIELD not in template:
            raise BadInput(f"'{template}' in {name} does not say where the token goes: write {TOKEN_FIELD} there")
    if not templates:
        raise BadInput(f"--templates {name} is empty: write lines such as 'a photo of a {TOKEN_FIELD}'")
    return templates


def fill(template: str, token: str) -> str:
    return template.replace(TOKEN_FIELD, token)


def row_names(token: str, count: int) -> tuple[str, ...]:
    """The names under which diffusers knows the rows of a token: <cat>, <cat>_1, <cat>_2."""
    return (token, *(f"{token}_{i}" for i in range(1, count)))


def expand(caption: str, names: Mapping[str, Sequence[str]]) -> str:
    """`caption` with every token replaced by the names of its rows; a token inside a longer word is left alone."""
    if not names:
        return caption
    return token_pattern(list(names)).sub(lambda found: " ".join(names[found.group()]), caption)


def mentions(caption: str, token: str) -> bool:
    """Whether `expand` would find the token."""
    return token_pattern([token]).search(caption) is not None


def token_pattern(tokens: Sequence[str]) -> re.Pattern[str]:
    longest_first = sorted(tokens, key=len, reverse=True)
    return re.compile(r"(?<![\w-])(?:" + "|".join(map(re.escape, longest_first)) + r")(?![\w-])")
