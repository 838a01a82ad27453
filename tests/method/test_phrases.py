"""Texts of phrases, and what one leads to."""

from __future__ import annotations

from ti_trainer.method.phrases import Phrase, with_article

CAT = Phrase(("striped", "orange", "cat"), ("blue", "collar"))


def test_texts() -> None:
    assert CAT.text == "striped orange cat with a blue collar"
    assert Phrase(("cat",), ("orange",)).text == "cat with an orange"
    assert Phrase(("orange", "cat")).text == "orange cat"
    snowy = Phrase(("orange", "cat"), ("hat",), "in the snow")
    assert (snowy.subject, snowy.text) == ("orange cat with a hat", "orange cat with a hat in the snow")
    assert [with_article(words) for words in ("cat", "orange cat")] == ["a cat", "an orange cat"]


def test_one_more_word_goes_in_front_or_to_the_end() -> None:
    assert [phrase.text for phrase in Phrase(("cat",)).grown("red")] == ["red cat", "cat red"]
    assert [phrase.text for phrase in Phrase(("big", "cat")).grown("red")] == ["red big cat", "big cat red"]
    assert [phrase.text for phrase in Phrase(("cat",)).with_part("hat")] == ["cat with a hat"]
    parts = [phrase.text for phrase in Phrase(("cat",), ("hat",)).with_part("red")]
    assert parts == ["cat with a red hat", "cat with a hat red"]


def test_the_scene_stays() -> None:
    """Whatever else changes."""
    snowy = Phrase(("orange", "cat"), ("hat",), "in the snow")
    changed = [*snowy.grown("big"), *snowy.with_part("red"), *snowy.renamed("dog"), *snowy.shortened(), *snowy.turned()]
    assert len(changed) > 8
    assert {phrase.scene for phrase in changed} == {"in the snow"}


def test_describing_words_are_not_the_last() -> None:
    """They go in front only, and names in front of names only; without a name any word may be last."""
    adjectives = {"red", "big", "striped", "orange"}
    assert [phrase.text for phrase in Phrase(("cat",)).grown("red", adjectives)] == ["red cat"]
    assert [phrase.text for phrase in Phrase(("red",)).grown("cat", adjectives)] == ["red cat"]
    assert [phrase.text for phrase in Phrase(("red",)).grown("big", adjectives)] == ["big red"]
    assert [phrase.text for phrase in Phrase(("house",)).grown("boat", adjectives)] == ["boat house", "house boat"]
    parts = [phrase.text for phrase in Phrase(("cat",), ("red",)).with_part("hat", adjectives)]
    assert parts == ["cat with a red hat"]
    assert [phrase.text for phrase in Phrase(("cat", "big", "red")).turned(adjectives)] == ["big red cat"]
    assert [phrase.text for phrase in Phrase(("big", "red")).turned(adjectives)] == ["red big", "big red"]


def test_no_word_comes_twice() -> None:
    assert list(CAT.grown("cat")) == list(CAT.with_part("blue")) == list(CAT.with_part("cat")) == []
    assert list(CAT.renamed("orange")) == []


def test_another_name() -> None:
    """The old name goes or is that of the part; a name that stood for the part does not stay there."""
    scarf = Phrase(("white", "scarf"), ("dog", "red"))
    assert [phrase.text for phrase in scarf.renamed("dog")] == ["white dog with a red", "white dog with a red scarf"]
    assert [phrase.text for phrase in Phrase(("hat",)).renamed("bird")] == ["bird", "bird with a hat"]
    nameless = Phrase(("red",), ("orange", "cat"))
    assert [phrase.text for phrase in nameless.renamed("cat", {"red", "orange"})] == ["red cat with an orange"]


def test_fewer_words() -> None:
    assert [phrase.text for phrase in CAT.shortened()] == [
        "orange cat with a blue collar",
        "striped cat with a blue collar",
        "striped orange with a blue collar",
        "striped orange cat with a collar",
        "striped orange cat with a blue",
    ]
    assert list(Phrase(("cat",)).shortened()) == []
    assert [phrase.text for phrase in Phrase(("cat",), ("blue",)).shortened()] == ["cat"]


def test_other_orders() -> None:
    """Each word is last once; the others stay as they were."""
    assert [phrase.words for phrase in CAT.turned()] == [
        ("orange", "cat", "striped"),
        ("striped", "cat", "orange"),
        ("striped", "orange", "cat"),
    ]
