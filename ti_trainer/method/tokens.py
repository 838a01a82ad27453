"""Tokens in captions: where a concept is named, and the rows that take its place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

TOKEN_FIELD = "{token}"
ROW = "<|row|>"  # what a tokenizer reads wherever a row belongs, of any concept
ROW_AS_READ = re.compile(re.escape(ROW), re.IGNORECASE)  # to CLIP's tokenizers capitals are small letters


def fill(template: str, token: str) -> str:
    """A template as a caption: the token in place of each TOKEN_FIELD."""
    return template.replace(TOKEN_FIELD, token)


def expand(caption: str, rows: Mapping[str, Sequence[int]]) -> tuple[str, list[int]]:
    """`caption` with a ROW for each row of every token in it, and the numbers of these rows, in order.

    rows: {token: numbers of its rows}. A token inside a longer word is left alone. A ROW that somebody wrote into the
    caption is removed, so that the ROWs in the text are as many as the numbers.
    """
    caption = without_rows(caption)
    found: list[int] = []
    if not rows:
        return caption, []

    def replace(match: re.Match[str]) -> str:
        found.extend(rows[match.group()])
        return " ".join([ROW] * len(rows[match.group()]))

    return token_pattern(list(rows)).sub(replace, caption), found


def without_rows(caption: str) -> str:
    """`caption` without any ROW, also none whose halves are joined when one between them is removed."""
    if not ROW_AS_READ.search(caption):
        return caption
    kept: list[str] = []
    for letter in caption:  # each ROW goes when its last letter comes, so what is kept never has one
        kept.append(letter)
        if letter == ROW[-1] and ROW_AS_READ.fullmatch("".join(kept[-len(ROW) :])):
            del kept[-len(ROW) :]
    return "".join(kept)


def mentions(caption: str, token: str) -> bool:
    """Whether `expand` would find the token."""
    return token_pattern([token]).search(caption) is not None


def token_pattern(tokens: Sequence[str]) -> re.Pattern[str]:
    """Finds each of the tokens where it stands alone: next to no letter, digit, "_" or "-"."""
    longest_first = sorted(tokens, key=len, reverse=True)
    return re.compile(r"(?<![\w-])(?:" + "|".join(map(re.escape, longest_first)) + r")(?![\w-])")
