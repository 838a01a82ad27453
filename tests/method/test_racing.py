"""Races of texts, on losses that are made up."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from tests.made_up_losses import CAT, WORDS, MadeUp
from ti_trainer.method.phrases import Phrase
from ti_trainer.method.racing import FEWEST, ROUNDS, Ledger, OutOfBudget, better, race


def test_passes_of_a_race() -> None:
    """24 phrases, then twelve, then three: each gets only the draws that it has not had."""
    losses = MadeUp(CAT)
    ledger = Ledger(losses, 100_000)
    ranked = race(ledger, [Phrase((word,)) for word in WORDS])
    assert (ROUNDS, FEWEST) == ((5, 15, 40), (12, 3))
    assert [len(ledger.known[phrase]) for phrase in ranked] == [40] * 3 + [15] * 9 + [5] * 12
    assert ledger.passes == losses.passes == 24 * 5 + 12 * 10 + 3 * 25
    assert len(set(ranked)) == len(WORDS)


def test_a_text_whose_draws_differ_goes_on() -> None:
    """24 texts that say nothing do alike on every draw; the right one lies behind them after five, and wins."""
    quiet = [Phrase((f"nothing-{number}",)) for number in range(24)]
    right = Phrase(("cat",))
    of_cat = [1.3, 0.8, 1.2, 0.8, 0.95, *[0.7] * 35]  # on average 1.01 after five

    def losses(texts: Sequence[str], draws: range) -> Tensor:
        return torch.tensor(
            [[of_cat[draw] if text == "cat" else 1 + 1e-6 * len(text) for draw in draws] for text in texts]
        )

    ledger = Ledger(losses, 100_000)
    assert race(ledger, [*quiet, right])[0] == right
    assert ledger.passes == 25 * 5 + 12 * 10 + 3 * 25


def test_a_race_ends_where_none_can_win() -> None:
    """Twelve texts that are far behind the best after the first 5 draws of each get no more."""
    ledger = Ledger(MadeUp({"cat": 3.0}), 100_000)
    cat = Phrase(("cat",))
    race(ledger, [Phrase((word,)) for word in WORDS[1:13]], cat)
    assert ledger.passes == 13 * 5


@pytest.mark.parametrize(("gain", "draws", "is_better"), [(0.3, 40, True), (-0.3, 0, False), (0.0, 160, False)])
def test_what_is_clear_takes_few_draws(gain: float, draws: int, is_better: bool) -> None:
    """Two texts get draws only as long as neither is certain; of one draw the difference has a deviation of .07."""
    ledger = Ledger(MadeUp({"cat": 0.0, "dog": gain}, seed=3), 100_000)
    cat, dog = Phrase(("cat",)), Phrase(("dog",))
    ledger.measure([cat, dog], 5)
    assert better(ledger, cat, dog, 0.0) == (dog if is_better else cat)
    assert ledger.passes == 2 * max(draws, 5)


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
