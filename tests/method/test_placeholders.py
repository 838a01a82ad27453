import hashlib

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.tiny_text import WIDTH, tiny_text_encoder, tiny_tokenizer
from ti_trainer.method.placeholders import PlaceholderEmbedding, Placeholders
from ti_trainer.method.tokens import ROW

VOCABULARY, COLUMNS = 10, 4


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def frozen_table(dtype: torch.dtype = torch.float32) -> nn.Embedding:
    return nn.Embedding.from_pretrained(randn(VOCABULARY, COLUMNS), freeze=True).to(dtype)


def holding(*initial: torch.Tensor) -> Placeholders:
    """Concepts <0>, <1> and so on, with these rows."""
    placeholders = Placeholders()
    for number, rows in enumerate(initial):
        placeholders.add(f"<{number}>", {"clip_l": rows})
    return placeholders


CASES = {"one concept": [3], "several": [1, 3, 2], "one row": [1]}


@pytest.mark.parametrize("counts", CASES.values(), ids=CASES.keys())
def test_equals_a_lookup_in_one_table(counts: list[int]) -> None:
    """The simple way: one table, the rows of all concepts appended, looked up as a whole."""
    frozen, placeholders = frozen_table(), Placeholders()
    ours = [
        placeholders.add(f"<{number}>", {"clip_l": randn(count, COLUMNS, seed=number + 1)})["clip_l"]
        for number, count in enumerate(counts)
    ]
    theirs = [nn.Parameter(rows.detach().clone()) for rows in ours]
    ids = list(range(VOCABULARY, VOCABULARY + sum(counts)))
    # every id occurs, some of ours several times and some in both texts
    text = torch.tensor([[*range(VOCABULARY)], [*(ids * 7)[:7], 1, 2, ids[0]]])
    found = PlaceholderEmbedding(frozen, "clip_l", placeholders)(text)
    expected = F.embedding(text, torch.cat([frozen.weight, *theirs]))
    assert torch.equal(found, expected)
    upstream = randn(*found.shape, seed=2)
    found.backward(upstream)
    expected.backward(upstream)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad)
        assert (one.grad.norm(dim=1) > 0).all()
    assert frozen.weight.grad is None


def test_text_without_placeholders() -> None:
    frozen, placeholders = frozen_table(), holding(randn(2, COLUMNS, seed=1))
    text = torch.tensor([[0, 5, 9]])
    found = PlaceholderEmbedding(frozen, "clip_l", placeholders)(text)
    assert torch.equal(found, frozen(text))
    found.sum().backward()
    (rows,) = rows_of(placeholders, "<0>").values()
    assert torch.equal(rows.grad, torch.zeros(2, COLUMNS))
    placeholders.remove("<0>")
    assert torch.equal(PlaceholderEmbedding(frozen, "clip_l", placeholders)(text), frozen(text))


def rows_of(placeholders: Placeholders, key: str) -> dict[str, nn.Parameter]:
    return placeholders.present[key][1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_float32_rows_in_a_half_precision_table(dtype: torch.dtype) -> None:
    """The encoder gets its own precision; an update smaller than that precision is not lost in the rows."""
    frozen, placeholders = frozen_table(dtype), Placeholders()
    rows = placeholders.add("<a>", {"clip_l": torch.ones(1, COLUMNS)})["clip_l"]
    embedding = PlaceholderEmbedding(frozen, "clip_l", placeholders)
    found = embedding(torch.tensor([[4, 10]]))
    assert found.dtype == dtype
    assert torch.equal(found, torch.stack([frozen.weight[4], torch.ones(COLUMNS, dtype=dtype)])[None])
    found.float().sum().backward()
    assert rows.grad is not None
    assert rows.grad.dtype == torch.float32
    with torch.no_grad():
        for _ in range(100):
            rows -= 1e-4 * rows.grad
    torch.testing.assert_close(rows.detach(), torch.full((1, COLUMNS), 0.99))
    assert torch.equal(embedding(torch.tensor([[10]])).detach(), torch.full((1, 1, COLUMNS), 0.99).to(dtype))


def test_encoder_never_sees_the_rows() -> None:
    tokenizer = tiny_tokenizer()
    encoder = tiny_text_encoder(tokenizer)
    names = {name for name, _ in encoder.named_parameters()}
    digest = hashlib.sha256(encoder.get_input_embeddings().weight.numpy().tobytes()).hexdigest()
    size = len(encoder.get_input_embeddings().weight)
    placeholders = holding(randn(2, WIDTH, seed=1) + 1e-5)
    rows = rows_of(placeholders, "<0>")["clip_l"]
    before = rows.detach().clone()
    encoder.set_input_embeddings(PlaceholderEmbedding(encoder.get_input_embeddings(), "clip_l", placeholders))

    assert all(parameter is not rows for parameter in encoder.parameters())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert len(list(encoder.parameters())) == len(names)
    assert {tuple(tensor.shape) for tensor in encoder.state_dict().values()}.isdisjoint({(2, WIDTH)})
    assert sum(tensor.numel() for tensor in encoder.state_dict().values()) == sum(
        parameter.numel() for parameter in tiny_text_encoder(tokenizer).parameters()
    )

    encoder.requires_grad_(False)
    assert rows.requires_grad
    encoder.to(torch.bfloat16)
    assert encoder.dtype == torch.bfloat16
    assert rows.dtype == torch.float32
    assert torch.equal(rows.detach(), before)
    encoder.zero_grad(set_to_none=True)
    encoder.to(torch.float32)
    assert encoder.get_input_embeddings().weight.shape == (size, WIDTH)

    encoder = tiny_text_encoder(tokenizer)
    encoder.set_input_embeddings(PlaceholderEmbedding(encoder.get_input_embeddings(), "clip_l", placeholders))
    optimizer = torch.optim.AdamW([rows], lr=0.1)
    encoder(torch.tensor([[tokenizer.bos_token_id, size, 5, size + 1]])).last_hidden_state.square().sum().backward()
    optimizer.step()
    assert not torch.equal(rows.detach(), before)
    assert hashlib.sha256(encoder.get_input_embeddings().weight.numpy().tobytes()).hexdigest() == digest


def test_encoder_with_rows_equals_an_enlarged_encoder() -> None:
    """transformers' own way, resize_token_embeddings and the rows copied in: the same output and gradient."""
    tokenizer = tiny_tokenizer()
    ours, theirs = tiny_text_encoder(tokenizer), tiny_text_encoder(tokenizer)
    size = len(tokenizer)
    placeholders = holding(randn(2, WIDTH, seed=1))
    rows = rows_of(placeholders, "<0>")["clip_l"]
    ours.set_input_embeddings(PlaceholderEmbedding(ours.get_input_embeddings(), "clip_l", placeholders))
    theirs.resize_token_embeddings(size + 2, mean_resizing=False)
    table = theirs.get_input_embeddings().weight
    with torch.no_grad():
        table[size:] = rows
    table.requires_grad_(True)
    ids = torch.tensor([[tokenizer.bos_token_id, 300, size, 7, size + 1, size, tokenizer.eos_token_id]])
    found, expected = ours(ids).last_hidden_state, theirs(ids).last_hidden_state
    torch.testing.assert_close(found, expected)
    found[..., 0].square().sum().backward()
    expected[..., 0].square().sum().backward()
    torch.testing.assert_close(rows.grad, table.grad[size:])


COUNTS = {"<a>": 2, "dog": 1, "<b>": 3}
WIDTHS = {"clip_l": 4, "clip_g": 6}


def initial_rows(token: str) -> dict[str, torch.Tensor]:
    return {slot: randn(COUNTS[token], width, seed=COUNTS[token]) for slot, width in WIDTHS.items()}


def three_concepts() -> Placeholders:
    placeholders = Placeholders()
    for token in COUNTS:
        placeholders.add(token, initial_rows(token))
    return placeholders


def test_every_concept_has_its_rows() -> None:
    ours = three_concepts()
    for token in COUNTS:
        for slot, rows in rows_of(ours, token).items():
            assert torch.equal(rows, initial_rows(token)[slot])
            assert (rows.dtype, rows.requires_grad, rows.is_leaf) == (torch.float32, True, True)
    assert ours.numbers() == {"<a>": range(0, 2), "dog": range(2, 3), "<b>": range(3, 6)}
    for slot in WIDTHS:
        assert torch.equal(ours.table(slot), torch.cat([initial_rows(token)[slot] for token in COUNTS]))


def test_gradients_of_the_table_go_to_each_ones_own() -> None:
    ours = three_concepts()
    upstream = randn(6, 4)
    ours.table("clip_l").backward(upstream)
    for token, numbers in ours.numbers().items():
        assert torch.equal(rows_of(ours, token)["clip_l"].grad, upstream[numbers.start : numbers.stop])
        assert rows_of(ours, token)["clip_g"].grad is None


def test_rows_are_float32_and_not_the_values_themselves() -> None:
    for dtype in (torch.float16, torch.float32):
        table = randn(3, 4).to(dtype)
        (rows,) = Placeholders().add("<a>", {"clip_l": table}).values()
        with torch.no_grad():
            rows += 1
        assert rows.dtype == torch.float32
        assert torch.equal(table, randn(3, 4).to(dtype))
        assert torch.equal(rows, randn(3, 4).to(dtype).float() + 1)


def test_who_stays_is_not_touched_when_others_come_and_go() -> None:
    """The parameters, and what optimisers keep of them, stay; only the numbers of rows move up."""
    ours = three_concepts()
    stays = rows_of(ours, "<b>")
    embedding = PlaceholderEmbedding(frozen_table(), "clip_l", ours)
    optimizer = torch.optim.AdamW([stays["clip_l"]], lr=0.1)
    embedding(torch.tensor([[13, 14, 15]])).square().sum().backward()
    optimizer.step()
    moved = stays["clip_l"].detach().clone()
    ours.remove("<a>")
    ours.add("<c>", {slot: torch.zeros(1, width) for slot, width in WIDTHS.items()})
    assert ours.numbers() == {"dog": range(0, 1), "<b>": range(1, 4), "<c>": range(4, 5)}
    assert rows_of(ours, "<b>") is stays
    assert torch.equal(embedding(torch.tensor([[11, 12, 13]]))[0], moved)
    assert torch.equal(embedding(torch.tensor([[14]]))[0], torch.zeros(1, 4))
    assert optimizer.state[stays["clip_l"]]["step"] == 1
    with pytest.raises(KeyError):
        ours.remove("<a>")


def test_two_concepts_of_one_token_have_two_keys() -> None:
    ours = Placeholders()
    for number, key in enumerate(("runs/cat", "other/cat")):
        ours.add("<cat>", {"clip_l": torch.full((2, 4), float(number))}, key)
    with pytest.raises(ValueError, match="'other/cat' is present already"):
        ours.add("<dog>", {"clip_l": torch.zeros(1, 4)}, "other/cat")
    assert ours.numbers() == {"runs/cat": range(0, 2), "other/cat": range(2, 4)}
    assert ours.expand("a <cat>", "runs/cat") == (f"a {ROW} {ROW}", [0, 1])
    assert ours.expand("a <cat>", "other/cat") == (f"a {ROW} {ROW}", [2, 3])


def test_captions_are_read_with_the_rows_of_one_or_of_all() -> None:
    ours = three_concepts()
    caption = "<b>, a dog and <a>; hotdog <a>s"
    assert ours.expand(caption, "<a>") == (f"<b>, a dog and {ROW} {ROW}; hotdog <a>s", [0, 1])
    assert ours.expand(caption, "dog") == (f"<b>, a {ROW} and <a>; hotdog <a>s", [2])
    assert ours.expand(caption) == (f"{ROW} {ROW} {ROW}, a {ROW} and {ROW} {ROW}; hotdog <a>s", [3, 4, 5, 2, 0, 1])
    ours.remove("<a>")
    assert ours.expand(caption) == (f"{ROW} {ROW} {ROW}, a {ROW} and <a>; hotdog <a>s", [1, 2, 3, 0])


@pytest.mark.parametrize("written", [ROW, ROW.upper(), "<|Row|>", ROW[:3] + ROW + ROW[3:], ROW * 3])
def test_a_row_that_is_written_out_is_not_read(written: str) -> None:
    ours = three_concepts()
    assert ours.expand(f"a {written}dog <a>", "<a>") == (f"a dog {ROW} {ROW}", [0, 1])
    assert Placeholders().expand(f"a {written}dog <a>") == ("a dog <a>", [])
