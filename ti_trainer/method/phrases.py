"""Phrases that describe a thing and a part of it, and how one leads to the next."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Phrase:
    """Words for a thing, for a part of it, and for where it is: "striped orange cat", "blue collar", "in the snow"."""

    words: tuple[str, ...]
    part: tuple[str, ...] = ()
    scene: str = ""

    @property
    def subject(self) -> str:
        """ "striped orange cat with a blue collar", without an article before it."""
        words = " ".join(self.words)
        return f"{words} with {with_article(' '.join(self.part))}" if self.part else words

    @property
    def text(self) -> str:
        """The same, and where it is."""
        return f"{self.subject} {self.scene}".rstrip()

    def grown(self, word: str, describing: Collection[str] = ()) -> Iterator[Phrase]:
        """With one more word for the thing, which itself is named last; describing: words that are no names."""
        if word not in self.words:
            yield from (replace(self, words=more) for more in extensions(self.words, word, describing))

    def with_part(self, word: str, describing: Collection[str] = ()) -> Iterator[Phrase]:
        """With one more word for the part."""
        if word not in self.part and word not in self.words:
            yield from (replace(self, part=more) for more in extensions(self.part, word, describing))

    def renamed(self, name: str, describing: Collection[str] = ()) -> Iterator[Phrase]:
        """With another name for the thing, which is named last; the old one goes, or becomes the name of the part.

        What is named first may be a part that only this thing has: "white scarf" for a white dog with a scarf. Where
        all words describe, there is no old one.
        """
        if name in self.words:
            return
        part = tuple(word for word in self.part if word != name)
        if self.words[-1] in describing:
            yield replace(self, words=(*self.words, name), part=part)
        else:
            words = (*self.words[:-1], name)
            yield replace(self, words=words, part=part)
            yield replace(self, words=words, part=(*part, self.words[-1]))

    def shortened(self) -> Iterator[Phrase]:
        """Without each of its words in turn; one word for the thing stays."""
        if len(self.words) > 1:
            yield from (replace(self, words=fewer) for fewer in omissions(self.words))
        yield from (replace(self, part=fewer) for fewer in omissions(self.part))

    def turned(self, describing: Collection[str] = ()) -> Iterator[Phrase]:
        """With each of its words last in turn, or each that is no describing one, if there are any."""
        names = [word for word in self.words if word not in describing]
        for last in names or self.words:
            yield replace(self, words=(*(word for word in self.words if word != last), last))


def extensions(words: tuple[str, ...], word: str, describing: Collection[str]) -> Iterator[tuple[str, ...]]:
    """One more word in front or at the end: describing words in front only, names in front of names only."""
    if not words or word in describing or words[-1] not in describing:
        yield (word, *words)
    if words and word not in describing:
        yield (*words, word)


def omissions(words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for place in range(len(words)):
        yield words[:place] + words[place + 1 :]


def with_article(words: str) -> str:
    """The words with "a" or "an" before them, by their first letter."""
    return ("an " if words[0] in "aeiou" else "a ") + words
