from pathlib import Path

import pytest
import torch

from ti_trainer.config.concept import Concept
from ti_trainer.data.captions import (
    AS_WRITTEN,
    LONGEST_CAPTION,
    MOST_TEMPLATES,
    TEMPLATES,
    CaptionPolicy,
    checked_length,
    choose_captions,
    draw_caption,
    load_templates,
    longest_way_to_token,
    words_of_file,
)
from ti_trainer.errors import BadInput
from ti_trainer.method.tokens import fill, mentions


@pytest.mark.parametrize("name", list(TEMPLATES))
def test_bundled_templates(name: str) -> None:
    templates = load_templates(name)
    assert len(set(templates)) == len(templates) >= 10
    assert all(template.count("{token}") == 1 and mentions(fill(template, "<cat>"), "<cat>") for template in templates)


def test_templates_from_a_file(tmp_path) -> None:
    file = tmp_path / "mine.txt"
    file.write_bytes("\ufeffa {token} ü\r\n\r\n  {token} here  \n".encode())
    assert load_templates(str(file)) == ("a {token} ü", "{token} here")
    file.write_text("a photo of [name], [filewords]\nein Bild von {}\n", encoding="utf-16")
    assert load_templates(str(file)) == ("a photo of {token}, [filewords]", "ein Bild von {token}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "choose object or style or person"),
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"a {token}\na photo\n", "mine.txt, line 2 does not say"),
        ("a {token} ü".encode("latin-1"), "UTF-8"),
    ],
)
def test_templates_that_are_refused(tmp_path, content: bytes | None, message: str) -> None:
    file = tmp_path / "mine.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadInput) as refusal:
        load_templates(str(file))
    assert message in str(refusal.value)
    assert str(file) in str(refusal.value)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_plain_draw_is_one_draw() -> None:
    """A caption with equal chances, by one draw of the generator, whose next draws stay what they were."""
    captions = tuple(f"{i}, {{token}}, x" for i in range(5))
    for seed in range(20):
        used, reference = draws(seed), draws(seed)
        assert draw_caption(captions, AS_WRITTEN, used) == captions[int(torch.randint(5, (), generator=reference))]
        assert torch.equal(used.get_state(), reference.get_state())


def test_shuffled_tags() -> None:
    """All orders of what is not kept, evenly; nothing is lost."""
    policy = CaptionPolicy(shuffle_tags=True, keep_tags=1)
    drawn = [draw_caption(("{token}, a,b ,  c",), policy, draws(seed)) for seed in range(600)]
    counts = {caption: drawn.count(caption) for caption in set(drawn)}
    assert set(counts) == {f"{{token}}, {x}, {y}, {z}" for x, y, z in ("abc", "acb", "bac", "bca", "cab", "cba")}
    assert all(abs(count - 100) < 4.5 * 100**0.5 for count in counts.values())
    assert drawn[:20] == [draw_caption(("{token}, a,b ,  c",), policy, draws(seed)) for seed in range(20)]


def test_dropped_tags() -> None:
    """Each with its own probability, in their order; neither the kept ones nor the token's."""
    policy = CaptionPolicy(keep_tags=1, tag_dropout=0.3)
    drawn = [draw_caption(("head, a, my {token}, b",), policy, draws(seed)).split(", ") for seed in range(1000)]
    assert all(tags[0] == "head" and "my {token}" in tags for tags in drawn)
    assert all(tags == [tag for tag in ("head", "a", "my {token}", "b") if tag in tags] for tags in drawn)
    for tag in "ab":
        assert abs(sum(tag in tags for tags in drawn) / 1000 - 0.7) < 4.5 * (0.3 * 0.7 / 1000) ** 0.5
    both = sum("a" in tags and "b" in tags for tags in drawn) / 1000
    assert abs(both - 0.49) < 4.5 * (0.49 * 0.51 / 1000) ** 0.5
    everything = CaptionPolicy(tag_dropout=1.0)
    assert draw_caption(("a, my {token}, b",), everything, draws()) == "my {token}"


def test_dropped_captions() -> None:
    policy = CaptionPolicy(caption_dropout=0.25)
    drawn = [draw_caption(("a {token}, red",), policy, draws(seed)) for seed in range(1000)]
    assert set(drawn) == {"{token}", "a {token}, red"}
    assert abs(drawn.count("{token}") / 1000 - 0.25) < 4.5 * (0.25 * 0.75 / 1000) ** 0.5


def test_longest_way_to_the_token() -> None:
    assert longest_way_to_token("a, {token}, b", AS_WRITTEN) == "a, {token}, b"
    assert longest_way_to_token("a, {token}, b", CaptionPolicy(shuffle_tags=True)) == "a, b, {token}"
    assert longest_way_to_token("{token}, a, b", CaptionPolicy(shuffle_tags=True, keep_tags=1)) == "{token}, a, b"
    policy = CaptionPolicy(shuffle_tags=True, keep_tags=1, tag_dropout=0.5)
    captions = "head, a, {token}, b, c"
    longest = max(
        (draw_caption((captions,), policy, draws(seed)) for seed in range(300)), key=lambda text: text.index("{token}")
    )
    assert longest.index("{token}") == longest_way_to_token(captions, policy).index("{token}")


@pytest.mark.parametrize(
    ("settings", "own", "expected"),
    [
        ({}, ["a <cat> at home"], ["a {token} at home"]),
        ({}, ["a [name], <cat>_1, {token}"], ["a {token}, <cat>_1, {token}"]),
        ({}, [], ["t1 {token}", "t2 {token}, black dog"]),
        ({}, ["my {token} on [filewords]"], ["my {token} on black dog"]),
        ({"captions": "templates"}, ["sofa"], ["t1 {token}", "t2 {token}, sofa"]),
        ({"captions": "templates"}, ["sofa", "bed"], ["t1 {token}", "t2 {token}, sofa", "t2 {token}, bed"]),
        ({"scene": "in snow"}, [], ["t1 {token} in snow", "t2 {token}, black dog in snow"]),
        ({"scene": "in snow"}, ["a <cat>"], ["a {token}"]),
        ({"captions": "filename"}, ["sofa"], ["black dog"]),
        ({"captions": "filename", "add_token": True}, [], ["{token}, black dog"]),
        ({"add_token": True}, ["a sofa", "a <cat>", "<cat>s"], ["{token}, a sofa", "a {token}", "{token}, <cat>s"]),
    ],
)
def test_where_captions_come_from(settings: dict, own: list[str], expected: list[str]) -> None:
    templates = ("t1 {token}", "t2 {token}, [filewords]")
    assert choose_captions(Concept("<cat>", **settings), own, "black dog", templates) == tuple(expected)


def test_words_that_are_missing_leave_no_comma() -> None:
    assert choose_captions(Concept("<cat>"), [], "", ("t {token}, [filewords]",)) == ("t {token}",)
    snowy = Concept("<cat>", scene="in snow")
    assert choose_captions(snowy, [], "", ("t {token}, [filewords]",)) == ("t {token} in snow",)
    assert choose_captions(snowy, [], "", ("t {token}",), is_class=True) == ("t {token}",)  # they are elsewhere
    bare = Concept("<cat>", captions="filename", add_token=True)
    assert choose_captions(bare, [], "", ()) == ("{token}",)


@pytest.mark.parametrize(
    ("stem", "words"),
    [
        ("black_cat on_sofa", "black cat on sofa"),
        ("03-black cat (2)", "black cat"),
        ("0001", ""),
        ("2024_01_02 snow", "01 02 snow"),
        ("3d_render", "3d render"),
        ("t-shirt", "t-shirt"),
        ("кот_猫", "кот 猫"),
    ],
)
def test_words_of_a_file(stem: str, words: str) -> None:
    assert words_of_file(stem) == words


def test_captions_are_bounded() -> None:
    """Their length, and how many templates and words make of one picture."""
    assert checked_length("a" * LONGEST_CAPTION, "x.txt") == "a" * LONGEST_CAPTION
    with pytest.raises(BadInput, match=r"^x\.txt: a caption has 10,001 letters, and at most 10,000; shorten it$"):
        checked_length("a" * (LONGEST_CAPTION + 1), "x.txt")
    own = ["b" * 1_000]
    with pytest.raises(BadInput, match="a caption has 11,0"):
        choose_captions(Concept("<cat>", captions="templates"), own, "w", ["{token} " + "[filewords] " * 11])
    with pytest.raises(BadInput, match="make 20,000 captions of a picture; at most 10,000 are read"):
        choose_captions(Concept("<cat>", captions="templates"), own * 20, "w", ["{token}"] * 1_000)


def test_templates_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("".join(f"{n} {{token}}\n" for n in range(MOST_TEMPLATES)))
    assert len(load_templates(str(tmp_path / "x.txt"))) == MOST_TEMPLATES
    (tmp_path / "x.txt").write_text("{token}\n" * (MOST_TEMPLATES + 1))
    with pytest.raises(BadInput, match="has 1,001 templates; at most 1,000 are read"):
        load_templates(str(tmp_path / "x.txt"))
    (tmp_path / "x.txt").write_text("a" * 5_000)
    with pytest.raises(BadInput, match=r"x\.txt, line 1 does not say where the token goes"):
        load_templates(str(tmp_path / "x.txt"))


@pytest.mark.parametrize(
    ("stem", "words"), [("a   (2)", "a"), ("a (2) b", "a (2) b"), ("(2)", ""), ("a(2)", "a"), ("a _(12)", "a")]
)
def test_numbers_of_copies_are_no_words(stem: str, words: str) -> None:
    assert words_of_file(stem) == words
