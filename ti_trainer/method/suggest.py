"""The words that best describe pictures, by the loss of a model that is told them.

A model that removes noise errs less where it is told what the picture shows. So of many texts the best has the least
loss, on the same pictures, noise levels and noise for all: what these have in common then cancels in the difference of
two texts, which is all that counts here.

The search knows no model. It asks a function for losses, and gives each text as few draws as its rank needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from .phrases import Phrase

if TYPE_CHECKING:
    from torch import Tensor

# Texts and numbers of draws -> the loss of each text on each draw, (texts, draws). A draw is picture, noise level and
# noise: the same for every text.
Losses = Callable[[Sequence[str], range], "Tensor"]

ROUNDS = (10, 20, 40, 80)  # draws of the texts that are left
DECISIVE = 160  # draws of two texts between which a decision is to be made: most of them chose neither
SURVIVORS = 1 / 3  # of a round's texts that enter the next
BEAM = 3  # phrases that are grown further
SHORTLIST = 12  # words that phrases are grown with: the best of the race before
MOST_WORDS = 4  # for the thing
MOST_OF_PART = 2  # for what it has
# A word is added where the loss falls by so many standard errors,
CERTAIN = 3.0
# and by such a part of what the first word makes it fall, from that of the middle one of all words: with thousands of
# passes words that mean nothing are certain too.
WORTH = 0.05
SHOWN = 8  # texts of a step's ranking


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

    kind: str  # "word": the first; "thing", "part": one more; "order": which is last; "name": another name
    ranking: tuple[Reading, ...]  # the best texts, best first
    phrase: Phrase  # what the search holds for best after it
    passes: int  # forward passes up to here


class OutOfBudget(Exception):
    """The passes that are left do not suffice for what comes next."""


class Ledger:
    """What has been measured: the losses of each text on draws 0, 1, ... up to as many as it was given."""

    def __init__(self, losses: Losses, budget: int) -> None:
        self.losses = losses
        self.budget = budget
        self.passes = 0
        self.known: dict[Phrase, Tensor] = {}

    def measure(self, phrases: Sequence[Phrase], count: int) -> None:
        """Give each phrase its first `count` draws; raises OutOfBudget, before anything is measured."""
        missing: dict[int, list[Phrase]] = {}
        for phrase in dict.fromkeys(phrases):
            have = len(self.known.get(phrase, ()))
            if have < count:
                missing.setdefault(have, []).append(phrase)
        cost = sum((count - have) * len(group) for have, group in missing.items())
        if self.passes + cost > self.budget:
            raise OutOfBudget
        for have, group in missing.items():
            new = self.losses([phrase.text for phrase in group], range(have, count)).double()  # (texts, draws)
            for phrase, row in zip(group, new, strict=True):
                self.known[phrase] = torch.cat([self.known[phrase], row]) if have else row
        self.passes += cost

    def mean(self, phrase: Phrase) -> float:
        return self.known[phrase].mean().item()

    def fall(self, before: Phrase, after: Phrase) -> tuple[float, float]:
        """By how much the loss falls from one phrase to another, and the standard error.

        Mean and s / sqrt(n) of the differences on the n draws that both have; no error is infinite for n = 1.
        """
        count = min(len(self.known[before]), len(self.known[after]))
        falls = self.known[before][:count] - self.known[after][:count]  # (n,)
        error = falls.std().item() / math.sqrt(count) if count > 1 else math.inf
        return falls.mean().item(), error

    def is_less(self, before: Phrase, after: Phrase, least: float = 0.0) -> bool:
        """Whether the loss falls with certainty and by more than `least`."""
        fall, error = self.fall(before, after)
        return fall > max(CERTAIN * error, least)

    def may_fall(self, before: Phrase, after: Phrase, least: float) -> bool:
        """Whether the loss falls by `least`, or misses that by no more than a standard error."""
        fall, error = self.fall(before, after)
        return fall + error >= least


def race(ledger: Ledger, phrases: Sequence[Phrase], best: Phrase | None = None, least: float = 0.0) -> list[Phrase]:
    """The phrases, best first, each by as many draws as it needed: successive halving (Jamieson & Talwalkar 2016).

    Each of ROUNDS gives the phrases that are left so many draws, and SURVIVORS of them, at least BEAM, enter the next.
    Those that leave come behind the others, those of later rounds first. best: the phrase that is to be beaten by
    `least`; the race ends early where all that are left miss that by more than a standard error. Raises OutOfBudget.
    """
    left = list(phrases)
    beaten: list[Phrase] = []
    for count in ROUNDS:
        ledger.measure([*left, *([best] if best else [])], count)
        ranked = sorted(left, key=ledger.mean)
        most = max(BEAM, math.ceil(SURVIVORS * len(ranked)))
        left = ranked[:most]
        beaten = ranked[most:] + beaten
        if best and not any(ledger.may_fall(best, phrase, least) for phrase in left):
            break
    return left + beaten


def search(losses: Losses, words: Sequence[str], budget: int, describing: Collection[str] = ()) -> Iterator[Step]:
    """Yield the steps of a search for the phrase with the least loss; the last one holds what was found.

    words: candidates; budget: forward passes; describing: which of the words name no thing and so are not the last of a
    phrase, as far as that is known. First all words race alone. Then the best few phrases are grown by the
    best words, in front and at the end, as long as the loss falls enough (CERTAIN, WORTH). Then the words are ordered,
    what the thing has is found ("with a blue collar"), more words for the thing are tried, and other names for it. The
    search ends early where the passes that are left do not suffice for a step.
    """
    ledger = Ledger(losses, budget)
    with suppress(OutOfBudget):
        alone = race(ledger, [Phrase((word,)) for word in dict.fromkeys(words)])
        best = alone[0]
        yield step_of(ledger, "word", best, alone, best)
        least = WORTH * ledger.fall(alone[len(alone) // 2], best)[0]
        best_words = [phrase.words[0] for phrase in alone[:SHORTLIST]]
        best = yield from describe(ledger, best, alone, best_words, describing, least)
        if len(best.words) > 1:
            step = order(ledger, best, list(best.turned(describing)), [phrase.words[0] for phrase in alone])
            yield step
            best = step.phrase

        beam = [best]
        words_of_part = list(words)
        for _ in range(MOST_OF_PART):  # a first word that does not suffice alone may do so with a second one
            grown = growths(beam[:BEAM], words_of_part, lambda phrase, word: phrase.with_part(word, describing))
            step, beam = improve(ledger, "part", best, grown, least)
            yield step
            words_of_part = [word for phrase in beam[:SHORTLIST] for word in phrase.part]
            if step.phrase != best and len(step.phrase.part) < MOST_OF_PART:
                # what a part explains is no noise any more, and a further word may be certain now
                best = yield from describe(ledger, step.phrase, [step.phrase], best_words, describing, least)
                beam = [replace(phrase, words=best.words) for phrase in beam]
            else:
                best = step.phrase

        names = [word for word in best_words if word not in describing]
        renamed = growths([best], names, lambda phrase, word: phrase.renamed(word, describing))
        is_named = best.words[-1] not in describing
        step, ranked = improve(ledger, "name", best, renamed, 0.0 if is_named else -math.inf)
        if not is_named and ranked and not ledger.is_less(ranked[0], best):  # a thing has a name
            step = replace(step, phrase=ranked[0])
        yield step


def describe(
    ledger: Ledger,
    best: Phrase,
    beam: Sequence[Phrase],
    words: Sequence[str],
    describing: Collection[str],
    least: float,
) -> Generator[Step, None, Phrase]:
    """Yield the steps that add words for the thing until none helps; returns the phrase. Raises OutOfBudget."""
    while len(best.words) < MOST_WORDS:
        grown = growths(beam[:BEAM], words, lambda phrase, word: phrase.grown(word, describing))
        step, beam = improve(ledger, "thing", best, grown, least)
        yield step
        if step.phrase == best:
            break
        best = step.phrase
    return best


def shorten(losses: Losses, phrase: Phrase, is_short: Callable[[Phrase], bool]) -> Phrase:
    """The phrase without the words that the loss misses least, one after the other, until it is short or one word.

    What is left out each time is decided by DECISIVE draws.
    """
    while not is_short(phrase):
        fewer = list(phrase.shortened())
        if not fewer:
            break
        means = losses([each.text for each in fewer], range(DECISIVE)).mean(1)  # (fewer,)
        phrase = fewer[int(means.argmin())]
    return phrase


def growths(
    beam: Iterable[Phrase], words: Sequence[str], grow: Callable[[Phrase, str], Iterator[Phrase]]
) -> list[Phrase]:
    """Each phrase grown by each word, without repetitions."""
    return list(dict.fromkeys(grown for phrase in beam for word in words for grown in grow(phrase, word)))


def improve(
    ledger: Ledger, kind: str, best: Phrase, phrases: Sequence[Phrase], least: float
) -> tuple[Step, list[Phrase]]:
    """The step to the first of a race if it is better than `best`, and all that raced, best first."""
    ranked = race(ledger, phrases, best, least)
    chosen = better(ledger, best, ranked[0], least) if ranked else best
    return step_of(ledger, kind, best, ranked, chosen), ranked


def better(ledger: Ledger, before: Phrase, after: Phrase, least: float) -> Phrase:
    """`after` if its loss is less with certainty and by at least `least`, else `before`; raises OutOfBudget.

    `after` won a race, so luck is in what is known of it: where it may be better both get DECISIVE draws.
    """
    fall, error = ledger.fall(before, after)
    if fall < error or not ledger.may_fall(before, after, least):
        return before
    ledger.measure([before, after], DECISIVE)
    return after if ledger.is_less(before, after, least) else before


def order(ledger: Ledger, best: Phrase, turned: Sequence[Phrase], alone: Sequence[str]) -> Step:
    """The step that finds the thing itself among the words of a phrase: it is named last.

    turned: the phrase with each word last that may be; alone: all words, best first. Of the words that may be last, the
    first of `alone` is, but for those that are worse with certainty there than the best. Raises OutOfBudget.
    """
    ledger.measure([best, *turned], DECISIVE)
    ranked = sorted(turned, key=ledger.mean)
    possible = [phrase for phrase in ranked if not ledger.is_less(phrase, ranked[0])]
    chosen = min(possible, key=lambda phrase: alone.index(phrase.words[-1]))
    return step_of(ledger, "order", best, ranked, chosen)


def step_of(ledger: Ledger, kind: str, before: Phrase, ranked: Sequence[Phrase], phrase: Phrase) -> Step:
    readings = []
    for each in ranked[:SHOWN]:
        fall, error = ledger.fall(before, each)
        readings.append(Reading(each, ledger.mean(each), fall, error, len(ledger.known[each])))
    return Step(kind, tuple(readings), phrase, ledger.passes)
