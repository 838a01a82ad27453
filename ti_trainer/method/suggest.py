"""The words that best describe pictures, by the loss of a model that is told them.

A model that removes noise errs less where it is told what the picture shows (Li et al. 2023, "Your Diffusion Model is
Secretly a Zero-Shot Classifier"). So of many texts the best has the least loss, on the same pictures, noise levels and
noise for all: what these have in common then cancels in the difference of two texts, which is all that counts here.

The search knows no model. It asks a function for losses, and gives each text as few draws as its rank needs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from .phrases import Phrase
from .racing import DECISIVE, ROUNDS, Ledger, Losses, OutOfBudget, better, race

BEAM = 2  # names that seem alike and are described side by side
NAMES = 4  # the best ones, which are tried in place of the best and as what it has
SHORTLIST = 8  # words that are tried again after a race: the best of it
MOST_WORDS = 4  # for the thing
MOST_OF_PART = 2  # for what it has
SCENES = 3  # that race, of those with the least loss on the first draws
# A word is added where the loss falls with certainty, and by such a part of what the name makes it fall, from that of
# the middle one of all names: with thousands of passes words that mean nothing are certain too.
WORTH = 0.05
SHOWN = 8  # texts of a step's ranking

Growth = Callable[
    [str, Collection[str]], Iterable[Phrase]
]  # a method of Phrase: a word and the describing ones -> phrases


@dataclass(frozen=True)
class Reading:
    """What is known of a text after a step."""

    phrase: Phrase
    loss: float  # mean over its draws
    fall: float  # of the loss from that of the phrase before, on the draws that both have
    error: float  # standard error of `fall`
    draws: int


@dataclass(frozen=True)
class Step:
    """One more word, or the finding that no further one helps."""

    kind: str  # "word": the first; "scene"; "thing", "part": one more; "order": which is last; "name": another name
    ranking: tuple[Reading, ...]  # the best texts, best first
    phrase: Phrase  # what the search holds for best after it
    passes: int  # forward passes up to here


def search(
    losses: Losses,
    words: Sequence[str],
    budget: int,
    describing: Collection[str] = (),
    lesser: Collection[str] = (),
    scenes: Sequence[str] = (),
) -> Iterator[Step]:
    """Yield the steps of a search for the phrase with the least loss; the last one holds what was found.

    words: candidates; budget: forward passes; describing: which of the words name no thing and so are not the last of a
    phrase, as far as that is known; lesser: which name what other things have, or a picture of any, so that the name of
    a thing that does as well is better; scenes: where the thing may be in all pictures, "in the snow". First the names
    of things race alone. Then the best is put into a scene, if the loss falls with certainty there, and described by
    more words, as long as it falls enough (CERTAIN, WORTH); then comes what the thing has ("with a blue collar"), and
    other names are tried. The search ends early where the passes that are left do not suffice for a step.
    """
    with suppress(OutOfBudget):
        yield from Search(Ledger(losses, budget), words, describing, lesser, scenes).steps()


class Search:
    """A search under way. Its methods raise OutOfBudget, after which what was found before still holds."""

    def __init__(
        self,
        ledger: Ledger,
        words: Sequence[str],
        describing: Collection[str],
        lesser: Collection[str],
        scenes: Sequence[str],
    ) -> None:
        self.ledger = ledger
        self.words = list(dict.fromkeys(words))
        self.describing = describing
        self.lesser = lesser
        self.scenes = scenes
        names = [word for word in self.words if word not in describing] or self.words
        self.named = race(ledger, [Phrase((name,)) for name in names])  # best first
        self.best = self.named[0]
        self.least = WORTH * ledger.fall(self.named[len(self.named) // 2], self.best)[0]
        self.names = [phrase.words[0] for phrase in self.named[:NAMES]]
        # where nobody says which words describe, any may
        self.qualities = [word for word in self.words if word in describing] or self.words
        self.more = self.qualities  # what is left to try for the thing

    def steps(self) -> Iterator[Step]:
        yield self.step("word", self.named, self.best)
        alike = [name for name in self.named[:BEAM] if self.ledger.may_fall(self.best, name, 0.0)]
        yield from self.place()
        yield from self.describe([replace(name, scene=self.best.scene) for name in alike])
        yield from self.order()
        yield from self.add_parts()
        yield from self.rename()

    def place(self) -> Iterator[Step]:
        """Say where the thing is in all pictures, so that words for it are not taken for words for the thing."""
        if self.scenes:
            placed = [replace(self.best, scene=scene) for scene in self.scenes]
            self.ledger.measure(placed, ROUNDS[0])
            yield self.improve("scene", sorted(placed, key=self.ledger.mean)[:SCENES])[0]

    def describe(self, beam: Sequence[Phrase]) -> Iterator[Step]:
        """Add words for the thing until none helps; beam: the best phrase, and others that may become it."""
        while len(self.best.words) < MOST_WORDS:
            phrases = [more for each in beam for more in self.growths(each.grown, self.more)]
            step, ranked = self.improve("thing", phrases)
            yield step
            tried = dict.fromkeys(word for phrase in ranked for word in phrase.words if word in self.more)
            self.more = [word for word in tried if word not in self.best.words][:SHORTLIST]
            if step.phrase in beam:
                break
            beam = [self.best]

    def order(self) -> Iterator[Step]:
        """Find the thing itself among the words of the phrase: it is named last.

        Of the words that may be last, the first of `named` is, but for those that are worse with certainty there than
        the best.
        """
        turned = list(self.best.turned(self.describing))
        if len(turned) > 1:
            self.ledger.measure([self.best, *turned], DECISIVE[-1])
            ranked = sorted(turned, key=self.ledger.mean)
            possible = [phrase for phrase in ranked if not self.ledger.is_less(phrase, ranked[0])]
            alone = [phrase.words[0] for phrase in self.named]
            yield self.step("order", ranked, min(possible, key=lambda phrase: alone.index(phrase.words[-1])))

    def add_parts(self) -> Iterator[Step]:
        """Add words for what the thing has until none helps; where no word does alone, two of them may."""
        phrases = self.growths(self.best.with_part, self.words)
        while phrases and len(self.best.part) < MOST_OF_PART:
            before = self.best
            step, ranked = self.improve("part", phrases)
            yield step
            if self.best != before:
                # what a part explains is no noise any more, and a further word may be certain now
                words = list(dict.fromkeys(word for phrase in ranked for word in phrase.part))[:SHORTLIST]
                if self.best.part[-1] not in self.describing:  # a part is of some colour, which nothing was before it
                    words = list(dict.fromkeys([*words, *self.qualities]))
                self.more = self.qualities
                yield from self.describe([self.best])
                phrases = self.growths(self.best.with_part, words)
            elif not before.part and len(ranked[0].part) == 1:
                phrases = self.pairs()
            else:
                break

    def pairs(self) -> list[Phrase]:
        """The best phrase with each two words for what the thing has, of which one is a name."""
        named = self.growths(self.best.with_part, self.names)
        return [pair for phrase in named for pair in self.growths(phrase.with_part, self.qualities)]

    def rename(self) -> Iterator[Step]:
        """Try other names for the thing: what is named first may be a part that only this thing has.

        In place of a lesser name every name of a thing is tried, and the best one taken unless it is worse with
        certainty: many of those may have told nothing before the thing was described.
        """
        before = self.best
        is_lesser = before.words[-1] in self.lesser
        named = [phrase.words[0] for phrase in self.named]
        names = [name for name in named if name not in self.lesser] if is_lesser else self.names
        ranked = race(self.ledger, self.growths(before.renamed, names), before)
        chosen = better(self.ledger, before, ranked[0]) if ranked else before
        if is_lesser and ranked:
            self.ledger.measure([before, ranked[0]], DECISIVE[0])
            chosen = chosen if self.ledger.is_less(ranked[0], before) else ranked[0]
        yield self.step("name", ranked, chosen)
        if self.best != before:
            yield from self.describe([self.best])
        if not self.best.part and before.part:  # it was the name
            yield from self.add_parts()

    def growths(self, grow: Growth, words: Sequence[str]) -> list[Phrase]:
        """What each of the words makes of a phrase, without repetitions."""
        return list(dict.fromkeys(grown for word in words for grown in grow(word, self.describing)))

    def improve(self, kind: str, phrases: Sequence[Phrase]) -> tuple[Step, list[Phrase]]:
        """Go on to the first of a race if it is enough better; the step, and all that raced, best first."""
        ranked = race(self.ledger, phrases, self.best, self.least)
        chosen = better(self.ledger, self.best, ranked[0], self.least) if ranked else self.best
        return self.step(kind, ranked, chosen), ranked

    def step(self, kind: str, ranked: Sequence[Phrase], chosen: Phrase) -> Step:
        """The step from the best phrase to another one, which is the best from now on."""
        readings = []
        for each in ranked[:SHOWN]:
            fall, error = self.ledger.fall(self.best, each)
            readings.append(Reading(each, self.ledger.mean(each), fall, error, len(self.ledger.known[each])))
        self.best = chosen
        return Step(kind, tuple(readings), chosen, self.ledger.passes)


def shorten(losses: Losses, phrase: Phrase, is_short: Callable[[Phrase], bool]) -> Phrase:
    """The phrase without the words that the loss misses least, one after the other, until it is short or one word.

    What is left out each time is decided by the last number of DECISIVE draws.
    """
    while not is_short(phrase):
        fewer = list(phrase.shortened())
        if not fewer:
            break
        means = losses([each.text for each in fewer], range(DECISIVE[-1])).mean(1)  # (fewer,)
        phrase = fewer[int(means.argmin())]
    return phrase
