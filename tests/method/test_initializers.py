from collections.abc import Iterable
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from transformers import CLIPTokenizer

from tests.tiny_text import tiny_tokenizer
from ti_trainer.embedding_files import Embedding, write_embedding
from ti_trainer.errors import BadInput
from ti_trainer.method import initializers
from ti_trainer.method.initializers import (
    DEFAULT_VECTORS,
    INITIALIZERS,
    SPREAD,
    Start,
    count_rows,
    describing_word,
    initial_rows,
)
from ti_trainer.method.vocabulary import is_known_word
from ti_trainer.method.word_list import DESCRIBING_WORDS

TOKENIZER = tiny_tokenizer()
WIDTH = 64


class Words(NamedTuple):
    tokenizer: CLIPTokenizer
    table: torch.Tensor


def table(width: int = WIDTH) -> torch.Tensor:
    """Columns with means and deviations of their own."""
    draws = torch.Generator().manual_seed(0)
    means, deviations = torch.randn(width, generator=draws), torch.rand(width, generator=draws) + 0.1
    return torch.randn(len(TOKENIZER), width, generator=draws) * deviations + means


def row_of(word: str) -> torch.Tensor:
    return table()[TOKENIZER.get_vocab()[word + "</w>"]]


def start(asked: Start, slot: str = "clip_l", seed: int = 0) -> torch.Tensor:
    return initial_rows(asked, {slot: Words(TOKENIZER, table())}, seed)[slot]


def test_word() -> None:
    rows = start(Start("<x>", init="cat"))
    assert rows.shape == (DEFAULT_VECTORS, WIDTH)
    assert torch.equal(rows[-1], row_of("cat"))
    assert torch.equal(start(Start("<x>", init="Cat", num_vectors=1)), row_of("cat")[None])


def weighted_mean(rows: Iterable[torch.Tensor]) -> torch.Tensor:
    """The direction of the mean of rows, weighted by squared lengths."""
    mean = torch.stack([row.double() * float(row.double() @ row.double()) for row in rows]).sum(0)
    return mean / mean.norm()


def test_further_rows_are_means_of_words_and_apart() -> None:
    """Each is the mean of all words, the last that of describing words, and noise of size SPREAD; as long as the word.

    The squares of the noise, in the directions across the mean, have the mean that they should have.
    """
    describing = weighted_mean(row_of(word) for word in DESCRIBING_WORDS if is_known_word(TOKENIZER, word))
    firsts, lasts = [], []
    for seed in range(40):
        rows = start(Start("<x>", init="cat", num_vectors=3), seed=seed)
        assert torch.equal(rows[-1], row_of("cat"))
        torch.testing.assert_close(rows[:-1].norm(dim=1), row_of("cat").norm().expand(2))
        firsts.append(rows[0].double())
        lasts.append(rows[1].double())
    for found, mean in ((torch.stack(firsts), weighted_mean(table())), (torch.stack(lasts), describing)):
        along = found @ mean  # (40,)
        across = found / along[:, None] - mean  # (40, D), without a part along the mean
        count = across.numel()
        size = across.square().sum().sqrt() / (count / WIDTH) ** 0.5 / SPREAD
        assert abs(size - 1) < 4.5 / (2 * count) ** 0.5 + 2 * SPREAD**2
        assert len(torch.unique(found, dim=0)) == 40


def test_where_no_word_describes_the_average_of_all_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initializers, "DESCRIBING_WORDS", frozenset({"iridescent"}))
    found = describing_word(Words(TOKENIZER, table()))
    torch.testing.assert_close(found.double(), weighted_mean(table()), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("louder", ["fluffy", "cat"])
def test_further_rows_are_as_long_as_the_last_word(louder: str) -> None:
    """One word of the phrase is a hundred times as long as the other."""
    vocabulary = table()
    vocabulary[TOKENIZER.get_vocab()[louder + "</w>"]] *= 100
    last = vocabulary[TOKENIZER.get_vocab()["cat</w>"]]
    asked = Start("<x>", init="fluffy cat", num_vectors=32)
    rows = initial_rows(asked, {"clip_l": Words(TOKENIZER, vocabulary)}, 0)["clip_l"]
    torch.testing.assert_close(rows[:30].norm(dim=1), last.norm().expand(30))
    assert torch.equal(rows[-1], last)


def test_phrase_gives_a_row_for_each_token() -> None:
    rows = start(Start("<x>", init="a fluffy cat"))
    assert torch.equal(rows, torch.stack([row_of("a"), row_of("fluffy"), row_of("cat")]))
    longer = start(Start("<x>", init="fluffy cat", num_vectors=3))
    assert torch.equal(longer[1:], torch.stack([row_of("fluffy"), row_of("cat")]))
    assert F.cosine_similarity(longer[0], row_of("cat"), dim=0) < 0.9


def test_phrase_longer_than_its_rows() -> None:
    with pytest.raises(BadInput, match='"a fluffy cat" has 3 tokens, more than num_vectors=2'):
        start(Start("<x>", init="a fluffy cat", num_vectors=2))


@pytest.mark.parametrize("words", ["", "   "])
def test_no_words(words: str) -> None:
    with pytest.raises(BadInput, match="has no words"):
        start(Start("<x>", init=words))


def test_the_name_of_learned_rows_is_no_word() -> None:
    """A tokenizer that has met a concept before has it as a token, beyond the model's table."""
    with pytest.raises(BadInput, match=r"has the name <\|row\|>, which stands for learned rows; choose another word"):
        start(Start("<x>", init="a <|row|>"))


def test_random_rows_have_the_statistics_of_the_vocabulary() -> None:
    """75 rows a draw: mean and deviation of each column within 5 standard errors, of all together within 4.5."""
    concept = Start("<x>", init="random", num_vectors=75)
    rows = torch.cat([start(concept, seed=seed) for seed in range(20)])  # (1500, D)
    standard = (rows - table().mean(0)) / table().std(0)
    assert standard.mean(0).abs().max() < 5 / 1500**0.5
    assert (standard.std(0) - 1).abs().max() < 5 / 3000**0.5
    assert standard.mean().abs() < 4.5 / standard.numel() ** 0.5
    assert start(Start("<x>", init="random")).shape == (DEFAULT_VECTORS, WIDTH)


def test_draws_depend_on_seed_token_and_slot_alone() -> None:
    def draw(token: str = "<x>", **place) -> torch.Tensor:
        return start(Start(token, init="random", num_vectors=1), **place)

    torch.manual_seed(5)
    first = draw()
    torch.manual_seed(6)
    assert torch.equal(draw(), first)
    for other in (draw("<y>"), draw(slot="clip_g"), draw(seed=1)):
        assert not torch.equal(other, first)


def saved(tmp_path, rows: torch.Tensor) -> str:
    path = tmp_path / "old: one.safetensors"
    write_embedding(Embedding("<old>", {"clip_l": rows}), path, "webui")
    return str(path)


@pytest.mark.parametrize("count", [None, 3])
def test_file(tmp_path, count: int | None) -> None:
    rows = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(1))
    path = saved(tmp_path, rows)
    assert torch.equal(start(Start("<x>", init=f"file:{path}", num_vectors=count)), rows)


def test_file_of_another_program(tmp_path) -> None:
    rows = torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(1))
    torch.save({"string_to_token": {"*": 265}, "string_to_param": {"*": rows}, "name": "old"}, tmp_path / "old.pt")
    assert torch.equal(start(Start("<x>", init=f"file:{tmp_path / 'old.pt'}")), rows)


def test_files_that_do_not_fit(tmp_path) -> None:
    path = saved(tmp_path, torch.zeros(3, WIDTH + 1))
    with pytest.raises(BadInput, match=f"clip_l {WIDTH + 1} wide, and this model has clip_l {WIDTH} wide"):
        start(Start("<x>", init=f"file:{path}"))
    path = saved(tmp_path, torch.zeros(3, WIDTH))
    with pytest.raises(BadInput, match="has 3 vectors, not num_vectors=2"):
        start(Start("<x>", init=f"file:{path}", num_vectors=2))
    with pytest.raises(BadInput, match=r"nowhere\.safetensors cannot be read: No such file"):
        start(Start("<x>", init="file:nowhere.safetensors"))


@pytest.mark.parametrize("word", ["cat", "cats"])
def test_tuned_words_start_from_their_own_rows(word: str) -> None:
    vocabulary = table().requires_grad_()
    rows = initial_rows(Start(word, tune=True), {"clip_l": Words(TOKENIZER, vocabulary)}, 0)["clip_l"]
    ids = TOKENIZER(word).input_ids[1:-1]
    assert torch.equal(rows, table()[ids])
    assert not rows.requires_grad
    rows.zero_()
    assert torch.equal(vocabulary.detach(), table())


def test_half_precision_vocabulary() -> None:
    for asked in (Start("<x>", init="a cat"), Start("<x>", init="random"), Start("cat", tune=True)):
        rows = initial_rows(asked, {"clip_l": Words(TOKENIZER, table().half())}, 0)["clip_l"]
        assert rows.dtype == torch.float32
        torch.testing.assert_close(rows, start(asked), atol=2e-2, rtol=2e-2)


def test_files_that_need_a_name(tmp_path) -> None:
    """A tensor without a name, and one of two embeddings in a file: the concept's token is the name."""
    rows = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(0))
    torch.save(rows, tmp_path / "bare.pt")
    assert torch.equal(start(Start("<x>", init=f"file:{tmp_path / 'bare.pt'}")), rows)
    torch.save({"string_to_param": {"<x>": rows, "<y>": rows + 1}}, tmp_path / "two.pt")
    assert torch.equal(start(Start("<y>", init=f"file:{tmp_path / 'two.pt'}")), rows + 1)
    with pytest.raises(BadInput, match="several embeddings"):
        start(Start("<z>", init=f"file:{tmp_path / 'two.pt'}"))


def test_rows_are_counted_as_they_start(tmp_path) -> None:
    """The tokenizer, or the file, says beforehand how many rows there will be."""
    file = f"file:{saved(tmp_path, torch.zeros(3, WIDTH))}"
    for asked, count in {
        Start("<x-cat>", init="cat"): DEFAULT_VECTORS,
        Start("<x-cat>", init="cat", num_vectors=2): 2,
        Start("<x>", init="cat"): DEFAULT_VECTORS,
        Start("<x>", init="a fluffy cat"): 3,
        Start("<x>", init="a fluffy cat", num_vectors=7): 7,
        Start("<x>", init="random"): DEFAULT_VECTORS,
        Start("<x>", init="random", num_vectors=9): 9,
        Start("<x>", init=file): 3,
        Start("<x>", init=file, num_vectors=3): 3,
        Start("cat", tune=True): 1,
        Start("cats", tune=True): len(TOKENIZER("cats").input_ids) - 2,
    }.items():
        assert count_rows(asked, TOKENIZER) == len(start(asked)) == count, asked
    with pytest.raises(BadInput, match=r"nowhere\.safetensors cannot be read: No such file"):
        count_rows(Start("<x>", init="file:nowhere.safetensors"), TOKENIZER)


def test_a_new_row_of_the_table_is_a_new_kind_of_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def zeros(vocabularies: Any, asked: Start, text: str, draws: Any) -> dict[str, torch.Tensor]:
        count = asked.num_vectors or int(text)
        return {slot: torch.zeros(count, known.table.shape[1]) for slot, known in vocabularies.items()}

    assert start(Start("<x>", init="cat")).abs().max() > 0
    monkeypatch.setitem(INITIALIZERS, "zeros", zeros)
    assert torch.equal(start(Start("<x>", init="zeros:3")), torch.zeros(3, WIDTH))
