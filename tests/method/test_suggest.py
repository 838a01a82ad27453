"""The search for words, on losses that are made up so that the best phrase is known."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

import pytest
import torch
from torch import Tensor

from ti_trainer.method.phrases import Phrase
from ti_trainer.method.randomness import generator
from ti_trainer.method.suggest import ROUNDS, Ledger, OutOfBudget, Step, race, search, shorten

WORDS = (
    *("cat", "dog", "car", "tree", "house", "boat", "fish", "bird", "red", "orange", "yellow", "green", "blue", "pink"),
    *("striped", "spotted", "small", "shiny", "collar", "hat", "wheels", "roof", "moon", "snow"),
)


class MadeUp:
    """Losses that fall by `gains` for each of these words that a text has, and rise by `cost` for each other word.

    A word after "with" counts as "with WORD". Every draw adds something to all texts alike (of size 1, far more than
    any word), and something to each text (of size `noise`). misplaced: what it costs that "cat" is not the last word.
    """

    def __init__(
        self,
        gains: Mapping[str, float],
        cost: float = 0.02,
        noise: float = 0.05,
        seed: int = 0,
        misplaced: float = 0.02,
    ) -> None:
        self.gains = gains
        self.cost = cost
        self.misplaced = misplaced
        self.noise = noise
        self.seed = seed
        self.passes = 0

    def level(self, text: str) -> float:
        thing, _, part = text.partition(" with ")
        words = [*thing.split(), *(f"with {word}" for word in part.split()[1:])]
        last = thing.split()[-1]
        misplaced = self.misplaced if "cat" in words and last != "cat" else 0.0
        return 3 + misplaced - sum(self.gains.get(word, -self.cost) for word in words)

    def __call__(self, texts: Sequence[str], draws: range) -> Tensor:
        self.passes += len(texts) * len(draws)
        rows = [
            [self.level(text) + self.at(draw) + self.noise * self.at(text, draw) for draw in draws] for text in texts
        ]
        return torch.tensor(rows)

    def at(self, *place: str | int) -> float:
        return torch.randn((), generator=generator(self.seed, *place)).item()


CAT = {"cat": 0.3, "orange": 0.2, "striped": 0.1, "with blue": 0.15}


def steps_of(losses: MadeUp, budget: int = 100_000) -> list[Step]:
    return list(search(losses, WORDS, budget))


@pytest.mark.parametrize("seed", range(4))
def test_the_known_phrase_is_found(seed: int) -> None:
    last = steps_of(MadeUp(CAT, seed=seed))[-1].phrase
    assert set(last.words) == {"cat", "orange", "striped"}
    assert last.words[-1] == "cat"
    assert last.part == ("blue",)


def test_a_colour_that_is_better_alone_does_not_lead_astray() -> None:
    steps = steps_of(MadeUp({**CAT, "orange": 0.4}))
    assert steps[0].phrase.words == ("orange",)
    assert set(steps[-1].phrase.words) == {"cat", "orange", "striped"}
    assert steps[-1].phrase.words[-1] == "cat"


def test_words_that_are_known_to_describe_are_not_the_last() -> None:
    """Where the losses say nothing of the order, and fewer texts are tried."""

    gains = {"orange": 0.4, "cat": 0.3}
    blind = MadeUp(gains, misplaced=0.0)
    told = MadeUp(gains, misplaced=0.0)
    describing = {"red", "orange", "yellow", "green", "blue", "pink", "striped", "spotted", "small", "shiny"}
    list(search(blind, WORDS, 100_000))
    assert list(search(told, WORDS, 100_000, describing))[-1].phrase.text == "orange cat"
    assert told.passes < blind.passes


def test_a_word_that_is_certain_only_when_the_part_is_known() -> None:
    """ "striped" helps nothing before the text says "with a blue": it is found afterwards, and is no part."""

    class Late(MadeUp):
        def level(self, text: str) -> float:
            return super().level(text) - (
                0.1 if "striped" in text.split(" with ")[0] and "with a blue" in text else 0.0
            )

    last = steps_of(Late({"cat": 0.3, "orange": 0.2, "striped": -0.02, "with blue": 0.15}))[-1]
    assert set(last.phrase.words) == {"cat", "orange", "striped"}
    assert last.phrase.part == ("blue",)


def test_a_thing_has_a_name() -> None:
    """ "blue with a flower" is as good as "blue flower", and the search comes to it first."""

    class Flower(MadeUp):
        def level(self, text: str) -> float:
            return {"blue": 2.0, "blue with a hat": 1.5, "blue hat": 1.5}.get(text, 3.0)

    words = ["blue", "hat", "moon", "snow"]
    assert list(search(Flower({}), words, 100_000, {"blue"}))[-1].phrase.text == "blue hat"


def test_a_part_that_takes_two_words() -> None:
    """Neither word helps alone: both together are what the pictures show."""

    class Pair(MadeUp):
        def level(self, text: str) -> float:
            return super().level(text) - (0.3 if text.endswith("blue collar") else 0.0)

    last = steps_of(Pair({"cat": 0.3, "with blue": 0.0, "with collar": 0.0}))[-1]
    assert last.phrase.text == "cat with a blue collar"


@pytest.mark.parametrize("seed", range(4))
def test_it_stops_where_no_word_helps(seed: int) -> None:
    steps = steps_of(MadeUp({"cat": 0.3}, seed=seed))
    assert [step.phrase.text for step in steps] == ["cat"] * len(steps)
    assert {step.kind for step in steps} == {"word", "thing", "part", "name"}


def test_noise_alone_adds_few_words() -> None:
    """No word but the first means anything, and others cost nothing: what is added is luck."""
    found = [steps_of(MadeUp({"cat": 0.3}, cost=0.0, noise=0.2, seed=seed))[-1].phrase for seed in range(10)]
    assert all(phrase.words[-1] == "cat" or "cat" in phrase.words for phrase in found)
    assert sum(len(phrase.words) - 1 + len(phrase.part) for phrase in found) <= 3


def test_a_word_that_is_certain_but_worth_little_is_not_added() -> None:
    assert steps_of(MadeUp({"cat": 0.3, "moon": 0.005}, noise=1e-6))[-1].phrase.text == "cat"
    assert "moon" in steps_of(MadeUp({"cat": 0.3, "moon": 0.05}, noise=1e-6))[-1].phrase.words


@pytest.mark.parametrize("budget", [1, 239, 700, 1500, 2500, 100_000])
def test_budget(budget: int) -> None:
    """It is never exceeded, what is reported was spent, and the first race takes 24 words x 10 draws at least."""
    losses = MadeUp(CAT)
    steps = steps_of(losses, budget)
    assert losses.passes <= budget
    assert bool(steps) == (budget >= 700)
    assert [step.passes for step in steps] == sorted(step.passes for step in steps)
    if budget == 100_000:
        assert losses.passes == steps[-1].passes


def test_passes_of_a_race() -> None:
    """24 phrases, then a third, then a ninth at least three: each gets only the draws that it has not had."""
    losses = MadeUp(CAT)
    ledger = Ledger(losses, 100_000)
    ranked = race(ledger, [Phrase((word,)) for word in WORDS])
    assert [len(ledger.known[phrase]) for phrase in ranked] == [80] * 3 + [20] * 5 + [10] * 16
    assert ROUNDS == (10, 20, 40, 80)
    assert ledger.passes == losses.passes == 24 * 10 + 8 * 10 + 3 * 20 + 3 * 40
    assert len(set(ranked)) == len(WORDS)


def test_the_same_again() -> None:
    first, again = steps_of(MadeUp(CAT)), steps_of(MadeUp(CAT))
    assert first == again
    assert steps_of(MadeUp(CAT, seed=1)) != first


@pytest.mark.parametrize("words", [["cat"], ["cat", "cat"], ["cat", "dog"], ["cat", "dog", "orange"]])
def test_few_candidates(words: list[str]) -> None:
    """Also one alone, of which there is nothing to choose."""
    last = list(search(MadeUp(CAT), words, 100_000))[-1]
    assert last.phrase.text == ("orange cat" if "orange" in words else "cat")


def test_steps_come_as_they_are_found() -> None:
    """So that a search that is stopped has given what it found."""
    losses = MadeUp(CAT)
    first = next(search(losses, WORDS, 100_000))
    assert first.phrase.text == "cat"
    assert losses.passes == first.passes == 500


def test_fall_and_its_error_are_those_of_paired_draws() -> None:
    losses = MadeUp(CAT)
    ledger = Ledger(losses, 1000)
    cat, dog = Phrase(("cat",)), Phrase(("dog",))
    ledger.measure([cat], 30)
    ledger.measure([dog], 20)
    pairs = torch.stack([losses(["dog"], range(20))[0], losses(["cat"], range(20))[0]]).double().tolist()
    differences = [before - after for before, after in zip(*pairs, strict=True)]
    fall, error = ledger.fall(dog, cat)
    assert fall == pytest.approx(statistics.mean(differences), rel=1e-9)
    assert error == pytest.approx(statistics.stdev(differences) / math.sqrt(20), rel=1e-9)
    assert ledger.passes == 50


def test_nothing_is_measured_beyond_the_budget() -> None:
    losses = MadeUp(CAT)
    ledger = Ledger(losses, 10)
    with pytest.raises(OutOfBudget):
        ledger.measure([Phrase(("cat",)), Phrase(("dog",))], 6)
    assert losses.passes == ledger.passes == 0
    assert ledger.known == {}


def test_the_least_useful_words_are_left_out_first() -> None:
    """In the order of their gains, and only as many as need be; the thing keeps one word."""
    losses = MadeUp(CAT)
    phrase = Phrase(("striped", "orange", "cat"), ("blue",))
    left = [shorten(losses, phrase, lambda each, n=n: len(each.words + each.part) <= n).text for n in (4, 3, 2, 1, 0)]
    assert left == [phrase.text, "orange cat with a blue", "orange cat", "cat", "cat"]
    assert losses.passes == 160 * ((4) + (4 + 3) + (4 + 3 + 2) * 2)
