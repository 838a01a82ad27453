"""Sentences about pictures, with the token in the place of the subject."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .word_list import DESCRIBING_WORDS

DETERMINERS = """
    a an the this that these those my your his her its our their one two three some several another each
"""
# With these something else begins: what stands before them does not belong to the noun behind them.
BOUNDARIES = """
    of in on at by to for from with without under over near behind beside between among against through across around
    into onto inside outside above below or but as while that who which is are was were has have there next
"""
DETERMINING_WORDS = frozenset(DETERMINERS.split())
BOUNDARY_WORDS = frozenset(BOUNDARIES.split())
FARTHEST = 6  # words from a determiner to its noun


def name_subject(sentence: str, names: Sequence[str], token: str) -> str:
    """A captioner's sentence with the token for its subject: "a striped cat on a sofa" -> "<my-cat> on a sofa".

    names: what the subject may be called, such as "cat" and "kitten". The first of them in the sentence goes, with its
    determiner and all between the two, or else with the describing words before it: how the subject looks is for the
    token to say. What the sentence says of it afterwards stays. Without a name: "TOKEN, sentence".
    """
    text = " ".join(sentence.split()).rstrip(" .,")
    found = find_name(text, names)
    if not found:
        return f"{token}, {text}" if text else token
    before = text[: found.start()]
    return before[: start_of_phrase(before)] + token + text[found.end() :]


def find_name(text: str, names: Sequence[str]) -> re.Match[str] | None:
    """The first of the names that stands alone in a text, in capitals or not."""
    longest_first = [r"\s+".join(map(re.escape, name.split())) for name in sorted(names, key=len, reverse=True)]
    return re.search(rf"(?<![\w-])(?:{'|'.join(longest_first)})(?![\w-])", text, re.IGNORECASE)


def start_of_phrase(before: str) -> int:
    """Where in the text before a noun its phrase begins: at its determiner, or else at its describing words."""
    found = list(re.finditer(r"[\w'-]+|[^\w\s]", before))
    words = [match.group().lower() for match in found]
    start = len(before)
    are_describing = True
    for place in reversed(range(max(0, len(words) - FARTHEST), len(words))):
        word = words[place]
        if word in DETERMINING_WORDS:
            return found[place].start()
        is_describing = word in DESCRIBING_WORDS or joins_describing_words(words, place)
        if not (is_describing or may_describe(words, place)):
            break
        are_describing = are_describing and is_describing
        if are_describing:
            start = found[place].start()
    return start


def joins_describing_words(words: Sequence[str], place: int) -> bool:
    """Whether this is the "and" of "black and white", or such a comma."""
    return words[place] in ("and", ",") and bool(DESCRIBING_WORDS.intersection(words[max(0, place - 1) : place]))


def may_describe(words: Sequence[str], place: int) -> bool:
    """Whether a word may stand between a determiner and its noun.

    "holding" in "a woman holding cat" does not: it is a verb, and "sleeping" in "a sleeping cat" is none.
    """
    word = words[place]
    is_verb = word.endswith("ing") and not DETERMINING_WORDS.intersection(words[max(0, place - 1) : place])
    return word[0].isalnum() and word != "and" and word not in BOUNDARY_WORDS and not is_verb
