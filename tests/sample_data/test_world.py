"""The procedural world: what is drawn from it, how it is worded, how it looks."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from sample_data.world import tokenizer
from sample_data.world.attributes import (
    COLOURS,
    HELD_OUT,
    OBJECTS,
    PATTERNS,
    PLACES,
    SCENES,
    SIZES,
    Description,
    draw_description,
    held_out_description,
)
from sample_data.world.captions import full_caption, identity_words, random_caption
from sample_data.world.drawing import OVERSAMPLE, draw, draw_mask, draw_scene
from sample_data.world.pictures import as_tensor, caption, description, real_picture
from sample_data.world.references import references, views
from sample_data.world.settings import PICTURES, VALIDATION

EXAMPLE = Description("cat", "red", "plain", None, "large", "centre", "grass", "white")


@pytest.fixture(scope="module")
def drawn() -> list[Description]:
    rng = random.Random(5)
    return [draw_description(rng) for _ in range(100_000)]


# What is in the world


def test_held_out_creatures_are_never_drawn(drawn: list[Description]) -> None:
    assert len(set(HELD_OUT.values())) == len(HELD_OUT) >= 9
    assert len({identity[0] for identity in HELD_OUT.values()}) >= 9
    assert not {seen.identity() for seen in drawn} & set(HELD_OUT.values())


def test_no_picture_of_the_training_data_shows_a_held_out_creature() -> None:
    seen = {description(index).identity() for index in range(PICTURES + VALIDATION)}
    assert not seen & set(HELD_OUT.values())
    # ... but all that differs in the accent alone may be there, or the creatures' words would be unknown.
    for thing, colour, pattern, accent in HELD_OUT.values():
        assert any((thing, colour, pattern, other) in seen for other in COLOURS if other != accent)


def test_all_values_are_drawn_about_as_often_as_meant(drawn: list[Description]) -> None:
    # Rejecting what is invisible (accent or wall of the body's colour) shifts the shares by a few hundredths.
    shares: dict[str, dict[str | None, float]] = {
        "object": dict.fromkeys(OBJECTS, 1 / 12),
        "colour": dict.fromkeys(COLOURS, 1 / 10),
        "pattern": {"plain": 0.4, "striped": 0.3, "spotted": 0.3},
        "size": {"small": 1 / 3, "large": 2 / 3},
        "place": {"left": 1 / 4, "centre": 1 / 2, "right": 1 / 4},
        "scene": {**dict.fromkeys(SCENES, 3 / 21), "plain": 6 / 21},
        "accent": {None: 0.25} | dict.fromkeys(COLOURS, 0.075),
    }
    for attribute, wanted in shares.items():
        found = Counter(getattr(seen, attribute) for seen in drawn)
        assert found.keys() == wanted.keys(), attribute
        for value, share in wanted.items():
            assert found[value] / len(drawn) == pytest.approx(share, rel=0.15), (attribute, value)


def test_nothing_is_drawn_that_would_be_invisible(drawn: list[Description]) -> None:
    for seen in drawn:
        assert seen.accent != seen.colour
        assert seen.scene != "plain" or seen.backdrop not in (seen.colour, seen.accent)


@pytest.mark.parametrize("name", HELD_OUT)
def test_held_out_descriptions_are_of_that_creature(name: str) -> None:
    rng = random.Random(1)
    for scene in SCENES:
        seen = held_out_description(name, scene, rng)
        assert seen.identity() == HELD_OUT[name]
        assert seen.scene == scene
        assert seen.backdrop not in (seen.colour, seen.accent)


# Captions, read by a parser that shares no word list with the grammar

SAYS = {
    "object": {thing: thing for thing in OBJECTS},
    "pattern": {"striped": "striped", "spotted": "spotted", "plain": "plain"},
    "size": {"small": "small", "little": "small", "large": "large", "big": "large"},
    "scene": {
        **{"grass": "grass", "lawn": "grass", "snow": "snow", "night": "night", "moon": "night"},
        **{"beach": "beach", "sunset": "sunset", "background": "plain", "wall": "plain"},
    },
    "place": {"left": "left", "right": "right", "centre": "centre", "middle": "centre"},
}
PARTS = ["collar", "scarf", "hat", "fins", "roof", "wheels", "sail", "stem", "trunk", "centre", "badge", "bow"]
FILLERS = """
    a an the my this one with of on in at under front photo picture image drawing illustration painting rendering
    rendition depiction cropped close-up good bright dark nice cool clean dirty weird""".split()  # noqa: SIM905


def claims(words: list[str]) -> list[tuple[str, str]]:
    """(attribute, value) of everything that a caption says."""
    result = []
    for number, word in enumerate(words):
        following = words[number + 1] if number + 1 < len(words) else ""
        previous = words[number - 1] if number else ""
        if word in COLOURS and following in PARTS:
            result += [("accent", word), ("part", following)]
        elif word in COLOURS:
            result.append(("backdrop" if following in ("background", "wall") else "colour", word))
        elif not (word in PARTS and previous in COLOURS):
            said = [(attribute, values[word]) for attribute, values in SAYS.items() if word in values]
            assert said or word in FILLERS, f"{word!r} in {' '.join(words)!r} says something unknown"
            result += said
    return result


def true_of(seen: Description) -> set[tuple[str, str | None]]:
    part = dict(zip(OBJECTS, PARTS, strict=True))[seen.object]
    return {(name, getattr(seen, name)) for name in (*SAYS, "colour", "accent", "backdrop")} | {("part", part)}


def check_grammar(words: list[str]) -> None:
    for article, following in itertools.pairwise(words):
        if article in ("a", "an"):
            assert (article == "an") == (following[0] in "aeiou"), " ".join(words)
    for number, word in enumerate(words):
        if word in ("fins", "wheels"):
            assert words[number - 2] == "with", " ".join(words)


def test_captions_say_nothing_that_the_picture_does_not_show(drawn: list[Description]) -> None:
    named: Counter[str] = Counter()
    rng = random.Random(3)
    for seen in drawn[:10_000]:
        words = random_caption(seen, rng).split()
        check_grammar(words)
        said = claims(words)
        assert set(said) <= true_of(seen), (" ".join(words), seen)
        assert len(dict(said)) == len(said), f"{' '.join(words)!r} says something twice"
        assert ("object", seen.object) in said
        named.update(dict(said).keys())
    # Each attribute is left out at times: 3 in 4 captions name the colour and the scene.
    assert named["colour"] / 10_000 == pytest.approx(0.75, abs=0.02)
    assert named["scene"] / 10_000 == pytest.approx(0.75, abs=0.02)
    assert named["size"] / 10_000 == pytest.approx(0.3, abs=0.02)
    assert named["place"] / 10_000 == pytest.approx(0.2, abs=0.02)


def test_full_captions_name_all_but_size_and_place(drawn: list[Description]) -> None:
    for seen in drawn[:5_000]:
        words = full_caption(seen).split()
        check_grammar(words)
        said = dict(claims(words))
        expected = {"object", "colour", "scene"}
        expected |= {"pattern"} if seen.pattern != "plain" else set()
        expected |= {"accent", "part"} if seen.accent else set()
        expected |= {"backdrop"} if seen.scene == "plain" else set()
        assert said.keys() == expected
        assert said.items() <= true_of(seen)


def test_identity_in_words() -> None:
    assert identity_words(HELD_OUT["my-cat"]) == "striped orange cat with a blue collar"
    assert identity_words(("fish", "red", "plain", "orange")) == "red fish with orange fins"
    assert identity_words(("house", "red", "plain", "orange")) == "red house with an orange roof"
    assert identity_words(("star", "green", "spotted", None)) == "spotted green star"


def test_captions_are_a_function_of_picture_and_number() -> None:
    assert caption(7, 3) == caption(7, 3)
    assert len({caption(7, number) for number in range(20)}) > 5


def test_tokenizer_knows_the_words_of_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer, "CAPTIONS_FOR_TOKENIZER", 500)
    built = tokenizer.build_tokenizer()
    for word in (*OBJECTS, *COLOURS, *PATTERNS, *PARTS, "painting", "masterpiece"):
        assert len(built(word, add_special_tokens=False).input_ids) == 1, word
    ids = built("Naïve café 日本!").input_ids
    assert (ids[0], ids[-1]) == (built.bos_token_id, built.eos_token_id) == (len(built) - 2, len(built) - 1)
    assert built.decode(ids, skip_special_tokens=True) == "naïve café 日本 !"


# Pictures


def changed(one: Description, other: Description, seed: int = 0) -> np.ndarray:
    """Where (64, 64) two descriptions drawn with the same random numbers differ visibly."""
    first, second = (np.asarray(draw(seen, random.Random(seed)), int) for seen in (one, other))
    return np.abs(first - second).sum(-1) > 100


def test_drawing_depends_on_the_seed_and_on_nothing_else() -> None:
    first = draw(EXAMPLE, random.Random(1))
    random.seed(123)
    assert first.size == (64, 64)
    assert first.mode == "RGB"
    assert first.tobytes() == draw(EXAMPLE, random.Random(1)).tobytes()
    assert first.tobytes() != draw(EXAMPLE, random.Random(2)).tobytes()
    assert real_picture(3).tobytes() == real_picture(3).tobytes()
    assert real_picture(3).tobytes() != real_picture(4).tobytes()


@pytest.mark.parametrize(("size", "accent", "pattern", "body"), [("small", 80, 90, 400), ("large", 150, 200, 700)])
@pytest.mark.parametrize("thing", OBJECTS)
def test_every_attribute_covers_enough_pixels(thing: str, size: str, accent: int, pattern: int, body: int) -> None:
    seen = replace(EXAMPLE, object=thing, size=size)
    red, blue = replace(seen, accent="red", colour="white"), replace(seen, accent="blue", colour="white")
    for seed in range(3):
        assert changed(red, blue, seed).sum() >= accent
        assert changed(red, replace(red, accent=None), seed).sum() >= accent
        for one, other in (("plain", "striped"), ("plain", "spotted"), ("striped", "spotted")):
            assert changed(replace(seen, pattern=one), replace(seen, pattern=other), seed).sum() >= pattern
        assert changed(replace(seen, colour="red"), replace(seen, colour="blue"), seed).sum() >= body


def test_size_and_place_are_what_they_are_called() -> None:
    area: dict[str, float] = {}
    centre: dict[tuple[str, str], float] = {}
    for size in SIZES:
        for place in PLACES:
            seen = replace(EXAMPLE, object="star", size=size, place=place)
            pairs = [(replace(seen, colour="red"), replace(seen, colour="blue")) for _ in range(20)]
            bodies = [changed(*pair, seed=seed) for seed, pair in enumerate(pairs)]
            area[size] = float(np.mean([body.sum() for body in bodies]))
            centre[size, place] = float(np.mean([np.nonzero(body)[1].mean() for body in bodies]))
    assert area["large"] > 1.5 * area["small"]
    for size in SIZES:
        assert centre[size, "centre"] == pytest.approx(31.5, abs=1.5)
        assert centre[size, "left"] < centre[size, "centre"] - 4 < centre[size, "centre"] + 4 < centre[size, "right"]


def test_masks_tell_the_object_from_the_scenery(drawn: list[Description]) -> None:
    """The scenery shows where they are black and nowhere else; grey is the edge."""
    for number, seen in enumerate(drawn[:40]):
        picture = np.asarray(draw(seen, random.Random(number)), np.float64)
        scenery, _ = draw_scene(seen, random.Random(number))
        empty = np.asarray(scenery.reduce(OVERSAMPLE), np.float64)
        share = np.asarray(draw_mask(seen, random.Random(number)), np.float64) / 255
        difference = np.abs(picture - empty).max(2)
        assert (difference[share == 0] == 0).all()
        assert (difference[share == 1] > 0).mean() > 0.95  # but for what happens to be of the scenery's colour
        edge = (share > 0) & (share < 1)
        assert (difference[edge] <= 255 * share[edge] + 1).all()
        assert 0.08 < share.mean() < 0.75


def test_pictures_become_tensors_between_minus_one_and_one() -> None:
    pictures = np.zeros((2, 64, 64, 3), np.uint8)
    pictures[1, 5, 7] = (255, 51, 0)
    tensor = as_tensor(pictures)
    assert tensor.shape == (2, 3, 64, 64)
    assert (tensor[0] == -1).all()
    assert tensor[1, :, 5, 7].tolist() == pytest.approx([1, -0.6, -1])


@pytest.mark.parametrize("name", HELD_OUT)
def test_references_show_the_creature_in_several_views(name: str) -> None:
    described = [seen for seen, _ in views(name)]
    assert {seen.identity() for seen in described} == {HELD_OUT[name]}
    assert [seen.scene for seen in described] == ["grass", "snow", "beach", "sunset", "plain"]
    assert {seen.size for seen in described} == set(SIZES)
    assert {seen.place for seen in described} == set(PLACES)
    pictures = [picture.tobytes() for picture in references(name, 12)]
    assert len(set(pictures)) == 12
    assert pictures[:5] == [picture.tobytes() for picture in references(name)]
