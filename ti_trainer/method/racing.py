"""Which of many texts has the least loss, in as few passes of a model as that takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch

from .phrases import Phrase

if TYPE_CHECKING:
    from torch import Tensor

# Texts and numbers of draws -> the loss of each text on each draw, (texts, draws). A draw is picture, noise level and
# noise: the same for every text.
Losses = Callable[[Sequence[str], range], "Tensor"]

ROUNDS = (5, 15, 40)  # draws of the texts that are left
SURVIVORS = 1 / 6  # of a round's texts that enter the next,
FEWEST = (12, 3)  # but not fewer of the first and of the second round
DECISIVE = (40, 80, 160)  # draws of two texts between which a decision is to be made, until it is certain
CERTAIN = 3.0  # standard errors by which the loss has to fall
HOPE = 1.0  # standard errors by which a text that leaves a round might have done better; .5 to 2 do as well
POSSIBLE = 2.0  # standard errors by which it may seem to fall too little


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

    def hoped(self, before: Phrase, after: Phrase) -> float:
        """By how much the loss may fall: the fall and HOPE standard errors."""
        fall, error = self.fall(before, after)
        return fall + HOPE * error

    def is_less(self, before: Phrase, after: Phrase, least: float = 0.0) -> bool:
        """Whether the loss falls with certainty and by more than `least`."""
        fall, error = self.fall(before, after)
        return fall > max(CERTAIN * error, least)

    def may_fall(self, before: Phrase, after: Phrase, least: float) -> bool:
        """Whether the loss falls by `least`, or misses that by no more than POSSIBLE standard errors."""
        fall, error = self.fall(before, after)
        return fall + POSSIBLE * error >= least


def race(ledger: Ledger, phrases: Sequence[Phrase], best: Phrase | None = None, least: float = 0.0) -> list[Phrase]:
    """The phrases, best first, each by as many draws as it needed: successive halving (Jamieson & Talwalkar 2016).

    Each of ROUNDS gives the phrases that are left so many draws, and SURVIVORS of them, at least FEWEST, enter the
    next: those with the largest fall that may be hoped for, from the middle one. Most words mean nothing here and do
    equally well on every draw, but the right one does better on some and worse on others: after few draws it may lie
    behind all of them. In the end the least loss counts. Those that leave come behind the others, those of later rounds
    first. best: the phrase that is to be beaten by `least`; the race ends early where none that is left may do that.
    Raises OutOfBudget.
    """
    left = list(phrases)
    beaten: list[Phrase] = []
    if not left:
        return []
    for count, fewest in zip(ROUNDS, (*FEWEST, 1), strict=True):
        ledger.measure([*left, *([best] if best else [])], count)
        ranked = sorted(left, key=ledger.mean)
        if count < ROUNDS[-1]:
            hopes = partial(ledger.hoped, ranked[len(ranked) // 2])
            ranked = sorted(ranked, key=hopes, reverse=True)
        most = max(fewest, math.ceil(SURVIVORS * len(ranked)))
        left = ranked[:most]
        beaten = ranked[most:] + beaten
        if best and not any(ledger.may_fall(best, phrase, least) for phrase in left):
            break
    return left + beaten


def better(ledger: Ledger, before: Phrase, after: Phrase, least: float = 0.0) -> Phrase:
    """`after` if its loss is less with certainty and by at least `least`, else `before`; raises OutOfBudget.

    `after` won a race, so luck is in what is known of it: both get DECISIVE draws, until one or the other is certain.
    """
    for count in DECISIVE:
        if not ledger.may_fall(before, after, least):
            break
        ledger.measure([before, after], count)
        if ledger.is_less(before, after, least):
            return after
    return before
