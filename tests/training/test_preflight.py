import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from tests.tiny_text import tiny_text_encoder, tiny_tokenizer
from ti_trainer.config.concept import Concept
from ti_trainer.config.config import TrainConfig
from ti_trainer.data.batches import ConceptData
from ti_trainer.data.examples import Example
from ti_trainer.data.geometry import Framing
from ti_trainer.data.images import Picture
from ti_trainer.errors import BadInput
from ti_trainer.families import Family, TextSlot
from ti_trainer.families.slots import CLIP_G, CLIP_L
from ti_trainer.method.tokens import ROW
from ti_trainer.training import preflight

CAT = Concept("<cat>")


@pytest.fixture
def slot() -> TextSlot:
    tokenizer = tiny_tokenizer()
    encoder = tiny_text_encoder(tokenizer)
    tokenizer.add_tokens([ROW])  # as families do
    return TextSlot(CLIP_L, "", tokenizer, encoder)


def example(*captions: str, path: str = "a.png", size: tuple[int, int] = (64, 64)) -> Example:
    return Example(Picture.at(Path(path)), captions, size)


MINE = Concept("<my-cat>")


def test_token_that_is_a_known_word(slot: TextSlot) -> None:
    preflight.check_token_is_new(MINE, [slot])
    with pytest.raises(BadInput, match=r"'cat' is already a word of clip_l.*'<my-cat>'.*tune=True"):
        preflight.check_token_is_new(Concept("cat"), [slot])
    slot.tokenizer.add_tokens(["<my-cat>"])
    with pytest.raises(BadInput, match="'<my-cat>' is already a word of clip_l"):
        preflight.check_token_is_new(MINE, [slot])


def test_token_that_one_of_two_encoders_knows(slot: TextSlot) -> None:
    other = TextSlot(CLIP_G, "_2", tiny_tokenizer(), slot.encoder)
    other.tokenizer.add_tokens(["<my-cat>"])
    with pytest.raises(BadInput, match="a word of clip_g"):
        preflight.check_token_is_new(MINE, [slot, other])


def test_init_words_that_are_none(slot: TextSlot) -> None:
    (line,) = preflight.init_warnings(replace(MINE, init="red xyzzy cat"), slot)
    assert line == (
        "the model knows no word 'xyzzy', and reads 5 pieces of it: init takes words for what the pictures show"
    )
    for init in ("red cat", "auto", "random", "file:xyzzy.pt"):
        assert preflight.init_warnings(replace(MINE, init=init), slot) == []


def test_tuning_wants_a_known_word(slot: TextSlot) -> None:
    preflight.check_token_is_new(Concept("cat", tune=True), [slot])
    for token in ("cats", "<cat>"):
        with pytest.raises(BadInput, match=f"clip_l has as one token, and '{token}' is none"):
            preflight.check_token_is_new(Concept(token, tune=True), [slot])


def test_captions_without_the_token(slot: TextSlot) -> None:
    preflight.check_captions(CAT, [example("a {token}", "my <cat>, red"), example("<cat>")], slot, 2, "truncate")
    for caption in ("a cat", "a <cat>_big", "a <Cat>", "{tokens}"):
        examples = [example("a {token}"), example(caption, path="b.png")]
        with pytest.raises(BadInput, match=r"caption of b\.png does not mention <cat>"):
            preflight.check_captions(CAT, examples, slot, 2, "truncate")


@pytest.mark.parametrize("count", [1, 3])
def test_window_is_that_of_the_tokenizer(slot: TextSlot, count: int) -> None:
    """The longest caption that passes is the longest whose rows a truncated text still has, and one more word fails."""
    names = ["<cat>", "<cat>_1", "<cat>_2"][:count]  # diffusers'
    reference = tiny_tokenizer()
    reference.add_tokens(names)
    ids = set(reference.convert_tokens_to_ids(names))

    def all_rows_survive(words: int) -> bool:
        text = " ".join(["red"] * words + names)
        return ids <= set(reference(text, truncation=True, max_length=77).input_ids)

    last = max(words for words in range(90) if all_rows_survive(words))
    assert last == 75 - count
    preflight.check_captions(CAT, [example("red " * last + "{token}")], slot, count, "truncate")
    preflight.check_captions(CAT, [example("red " * (last + 1) + "{token}")], slot, count, "chunk")
    assert preflight.check_captions(CAT, [example("{token}")], slot, count, "truncate") == []
    (note,) = preflight.check_captions(CAT, [example("{token}" + " red" * 200)], slot, count, "truncate")
    assert "only 75 tokens are read" in note
    with pytest.raises(BadInput, match=r"caption of a\.png has 76 tokens, and the 75 .* not hold all of <cat>"):
        preflight.check_captions(CAT, [example("red " * (last + 1) + "{token}")], slot, count, "truncate")


def test_window_of_a_caption_whose_tags_are_shuffled(slot: TextSlot) -> None:
    """The token may then come last, unless it is one of the tags that are kept."""
    long = "{token}, " + "red " * 74 + ", red"
    preflight.check_captions(CAT, [example(long)], slot, 1, "truncate")
    with pytest.raises(BadInput, match="not hold all of <cat>"):
        preflight.check_captions(Concept("<cat>", shuffle_tags=True), [example(long)], slot, 1, "truncate")
    kept = Concept("<cat>", shuffle_tags=True, keep_tags=1)
    preflight.check_captions(kept, [example(long)], slot, 1, "truncate")


def test_captions_of_a_tuned_word(slot: TextSlot) -> None:
    tuned = Concept("cat", tune=True)
    preflight.check_captions(tuned, [example("a photo of the {token}")], slot, 1, "truncate")
    with pytest.raises(BadInput, match="not hold all of cat"):
        preflight.check_captions(tuned, [example("red " * 75 + "cat")], slot, 1, "truncate")


def test_pictures_that_are_small() -> None:
    examples = [example(path="a.png", size=(100, 40)), example(path="b.png", size=(64, 64))]
    assert preflight.picture_warnings(examples, Framing(40)) == []
    assert preflight.picture_warnings(examples, Framing(64)) == ["a.png is 100 x 40 and will be enlarged to 64 x 64"]
    assert preflight.picture_warnings(examples, Framing(64, bucket_step=16)) == []  # shown at 96 x 32 and 64 x 64
    many = [example(path=f"{i}.png", size=(10, 10)) for i in range(12)]
    lines = preflight.picture_warnings(many, Framing(64))
    assert [line.split()[0] for line in lines] == [*(f"{i}.png" for i in range(10)), "..."]
    assert "2 more" in lines[-1]


def test_prompts_without_the_token() -> None:
    """Only where none has it: others may be there to compare with."""
    concept = Concept("<my-cat>")
    assert preflight.preview_warnings(concept, ["a cat", "a <my-cat> at sea"]) == []
    assert preflight.preview_warnings(Concept("<bad>", negative=True), ["a cat"]) == []
    (line,) = preflight.preview_warnings(concept, ["a cat", "my-cat"])
    assert line == "no prompt of the previews has <my-cat> in it: write {token} into prompts"


def test_resolution() -> None:
    family = SimpleNamespace(spec=SimpleNamespace(resolution=512), pixels_per_latent=8)
    assert preflight.check_resolution(TrainConfig(concept=CAT), family) == 512
    assert preflight.check_resolution(TrainConfig(concept=CAT, resolution=72), family) == 72
    for size, cure in ((500, 496), (63, 64), (33, 32)):
        with pytest.raises(BadInput, match=f"resolution is {size}; choose a multiple of 8, such as {cure}"):
            preflight.check_resolution(TrainConfig(concept=CAT, resolution=size), family)


def test_memory_and_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "model"
    for part, size in (("unet", 3 * 2**20), ("vae", 2**20)):
        (model / part).mkdir(parents=True)
        (model / part / "weights.safetensors").write_bytes(b"0" * size)
    config = TrainConfig(concept=CAT, model=str(model), output=str(tmp_path / "not" / "yet" / "there"))
    free = 4 * 2**20
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
    preflight.check_weights(config)
    preflight.check_disk(config)
    assert not (tmp_path / "not").exists()
    free -= 1
    with pytest.raises(BadInput, match=r"of weights and .* GiB of memory"):
        preflight.check_weights(config)
    free += 1
    monkeypatch.setattr(preflight, "MIN_FREE_BYTES", 2**70)
    with pytest.raises(BadInput, match=rf"{re.escape(str(tmp_path))} has \d+ MiB free; make room"):
        preflight.check_disk(config)


def test_rows_without_a_gradient(family: Family) -> None:
    """On the tiny model: every row is reached, unless the window cuts it off; no gradient is left in the rows."""
    (slot,) = family.slots
    width = slot.table.shape[1]
    rows = {
        token: family.placeholders.add(
            token, {slot.name: torch.randn(2, width, generator=torch.Generator().manual_seed(seed))}
        )
        for seed, token in enumerate(("<cat>", "<dog>"))
    }

    def check(token: str, caption: str) -> None:
        preflight.check_gradients(family, rows[token], ConceptData(token, [example(caption)], []))

    check("<cat>", "a {token}")
    check("<dog>", "a {token} and a <cat>")
    assert all(row.grad is None for own in rows.values() for row in own.values())
    with pytest.raises(BadInput, match=r"rows \[1\] of <dog> in clip_l get no gradient"):
        check("<dog>", "red " * 74 + "{token}")
    for caption in ("a dog", "a <cat>"):
        with pytest.raises(BadInput, match=r"of <dog> in clip_l get no gradient"):
            check("<dog>", caption)
