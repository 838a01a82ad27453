"""The search for words, on losses that are made up so that the best phrase is known."""

from __future__ import annotations

import pytest
import torch

from tests.made_up_losses import CAT, WORDS, MadeUp
from ti_trainer.method.phrases import Phrase
from ti_trainer.method.suggest import Step, search, shorten


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


@pytest.mark.parametrize("seed", range(4))
def test_what_is_around_the_thing_is_no_part_of_it(seed: int) -> None:
    """Unless it may be said where the thing is, "with a snow" is; a scene that only some pictures have is not said."""

    class Snowy(MadeUp):
        share = 1.0  # of the draws on which snow is seen

        def level(self, text: str) -> float:
            return super().level(text.replace(" in the snow", "").replace(" on sand", "")) + ("sand" in text) * 0.1

        def __call__(self, texts, draws):  # type: ignore[no-untyped-def]
            losses = super().__call__(texts, draws)
            seen = [0.2 if self.at("snow", draw) > 0 or self.share == 1 else -0.2 for draw in draws]
            for row, text in zip(losses, texts, strict=True):
                row -= torch.tensor(seen) * ("snow" in text)
            return losses

    gains = {"cat": 0.3, "orange": 0.2, "with blue": 0.15, "with snow": 0.0, "snow": -0.4}
    scenes = ["on sand", "in the snow"]
    assert "snow" in list(search(Snowy(gains, seed=seed), WORDS, 100_000))[-1].phrase.part
    found = list(search(Snowy(gains, seed=seed), WORDS, 100_000, scenes=scenes))
    assert found[1].kind == "scene"
    assert found[-1].phrase.scene == "in the snow"
    assert found[-1].phrase.part == ("blue",)
    sometimes = Snowy(gains, seed=seed)
    sometimes.share = 0.5
    assert list(search(sometimes, WORDS, 100_000, scenes=scenes))[-1].phrase.scene == ""


def test_a_thing_has_a_name() -> None:
    """ "blue with a flower" is as good as "blue flower", and the search comes to it first."""

    class Flower(MadeUp):
        def level(self, text: str) -> float:
            return {"blue": 2.0, "blue with a hat": 1.5, "blue hat": 1.5}.get(text, 3.0)

    words = ["blue", "hat", "moon", "snow"]
    assert list(search(Flower({}), words, 100_000, {"blue"}))[-1].phrase.text == "blue hat"


def test_a_part_that_takes_two_words() -> None:
    """Neither word helps there alone; but the part's name is among the best ones for the thing."""

    class Pair(MadeUp):
        def level(self, text: str) -> float:
            return super().level(text) - (0.3 if text.endswith("blue collar") else 0.0)

    gains = {"cat": 0.3, "collar": 0.1, "cat collar": 0.0, "with blue": 0.0, "with collar": 0.0}
    steps = list(search(Pair(gains), WORDS, 100_000, {"red", "blue", "green", "striped"}))
    assert steps[-1].phrase.text == "cat with a blue collar"


def test_the_colour_of_a_part_that_was_named_first() -> None:
    """Alone "blue" is the worst word there, so that it is not among the few that are tried again."""

    class Named(MadeUp):
        def level(self, text: str) -> float:
            return super().level(text) - (0.7 if text.endswith("blue collar") else 0.0)

    gains = {"cat": 0.3, "with collar": 0.15, "with blue": -0.5}
    found = list(search(Named(gains), WORDS, 100_000, {"red", "blue", "green", "striped"}))
    assert found[-1].phrase.text == "cat with a blue collar"


def test_a_part_is_no_name_where_another_does_as_well() -> None:
    """A hat tells the same as the cat that has it, and is found first; what is a hat and no cat stays one."""
    alike = {"hat": 0.32, "cat": 0.3, "blue": 0.2}
    for gains, name in ((alike, "blue cat"), ({**alike, "cat": 0.2}, "blue hat")):
        found = list(search(MadeUp(gains, misplaced=0.0), WORDS, 100_000, {"red", "blue"}, {"hat", "collar"}))
        assert found[0].phrase.text == "hat"
        assert found[-1].phrase.text == name


def test_a_name_that_told_nothing_alone() -> None:
    """Four lesser names come first, and the thing's only helps beside its colour; what it has, is sought again."""

    class Beside(MadeUp):
        def level(self, text: str) -> float:
            return super().level(text) - 0.4 * text.startswith("blue cat") - 0.2 * (text == "blue cat with a green")

    gains = {"hat": 0.2, "collar": 0.19, "roof": 0.18, "wheels": 0.17, "blue": 0.2, "with cat": 0.1}
    lesser = {"hat", "collar", "roof", "wheels"}
    found = list(search(Beside(gains), WORDS, 100_000, {"red", "blue", "green"}, lesser))
    assert found[0].phrase.text == "hat"
    assert next(step for step in found if step.kind == "part").phrase.text == "blue hat with a cat"
    assert found[-1].phrase.text == "blue cat with a green"


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
    assert losses.passes == first.passes == 24 * 5 + 12 * 10 + 3 * 25


def test_the_least_useful_words_are_left_out_first() -> None:
    """In the order of their gains, and only as many as need be; the thing keeps one word."""
    losses = MadeUp(CAT)
    phrase = Phrase(("striped", "orange", "cat"), ("blue",))
    left = [shorten(losses, phrase, lambda each, n=n: len(each.words + each.part) <= n).text for n in (4, 3, 2, 1, 0)]
    assert left == [phrase.text, "orange cat with a blue", "orange cat", "cat", "cat"]
    assert losses.passes == 160 * ((4) + (4 + 3) + (4 + 3 + 2) * 2)
