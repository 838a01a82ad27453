import hashlib

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.tiny_text import WIDTH, tiny_text_encoder, tiny_tokenizer
from ti_trainer.config import Concept
from ti_trainer.placeholders import PlaceholderEmbedding, Placeholders

VOCABULARY, COLUMNS = 10, 4


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def frozen_table(dtype: torch.dtype = torch.float32) -> nn.Embedding:
    return nn.Embedding.from_pretrained(randn(VOCABULARY, COLUMNS), freeze=True).to(dtype)


def table_with_rows(frozen: nn.Embedding, ids: list[int], rows: torch.Tensor) -> torch.Tensor:
    """The simple way: one table, the rows written over or appended, looked up as a whole."""
    table = frozen.weight.detach().float().clone()
    table = torch.cat([table, torch.zeros(max(0, max(ids) + 1 - len(table)), table.shape[1])])
    return table.index_copy(0, torch.tensor(ids), rows)


CASES = {
    "new words": [10, 11, 12],
    "new words out of order": [12, 10, 11],
    "a tuned word": [3],
    "tuned and new words": [3, 0, 10],
}


@pytest.mark.parametrize("ids", CASES.values(), ids=CASES.keys())
def test_equals_a_lookup_in_one_table(ids: list[int]) -> None:
    rows = nn.Parameter(randn(len(ids), COLUMNS, seed=1))
    theirs = nn.Parameter(rows.detach().clone())
    frozen = frozen_table()
    # every id occurs, some of ours several times and some in both texts
    text = torch.tensor([[*range(VOCABULARY)], [*(ids * 7)[:7], 1, 2, ids[0]]])
    found = PlaceholderEmbedding(frozen, ids, rows)(text)
    expected = F.embedding(text, table_with_rows(frozen, ids, theirs))
    assert torch.equal(found, expected)
    upstream = randn(*found.shape, seed=2)
    found.backward(upstream)
    expected.backward(upstream)
    torch.testing.assert_close(rows.grad, theirs.grad)
    assert (rows.grad.norm(dim=1) > 0).all()
    assert frozen.weight.grad is None


def test_text_without_placeholders() -> None:
    rows = nn.Parameter(randn(2, COLUMNS, seed=1))
    frozen = frozen_table()
    found = PlaceholderEmbedding(frozen, [10, 11], rows)(torch.tensor([[0, 5, 9]]))
    assert torch.equal(found, frozen(torch.tensor([[0, 5, 9]])))
    found.sum().backward()
    assert torch.equal(rows.grad, torch.zeros(2, COLUMNS))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_float32_rows_in_a_half_precision_table(dtype: torch.dtype) -> None:
    """The encoder gets its own precision; an update smaller than that precision is not lost in the rows."""
    rows = nn.Parameter(torch.ones(1, COLUMNS))
    frozen = frozen_table(dtype)
    embedding = PlaceholderEmbedding(frozen, [10], rows)
    found = embedding(torch.tensor([[4, 10]]))
    assert found.dtype == dtype
    assert torch.equal(found, torch.stack([frozen.weight[4], torch.ones(COLUMNS, dtype=dtype)])[None])
    found.float().sum().backward()
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
    rows = nn.Parameter(randn(2, WIDTH, seed=1) + 1e-5)
    before = rows.detach().clone()
    encoder.set_input_embeddings(PlaceholderEmbedding(encoder.get_input_embeddings(), [size, size + 1], rows))

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
    encoder.set_input_embeddings(PlaceholderEmbedding(encoder.get_input_embeddings(), [size, size + 1], rows))
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
    rows = nn.Parameter(randn(2, WIDTH, seed=1))
    ours.set_input_embeddings(PlaceholderEmbedding(ours.get_input_embeddings(), [size, size + 1], rows))
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


CONCEPTS = (Concept("<a>"), Concept("dog", tune=True), Concept("<b>"))


def placeholders() -> Placeholders:
    counts = {"clip_l": (2, 1, 3), "clip_g": (2, 2, 3)}
    widths = {"clip_l": 4, "clip_g": 6}
    return Placeholders(
        CONCEPTS,
        [{slot: randn(counts[slot][i], widths[slot], seed=i) for slot in counts} for i in range(len(CONCEPTS))],
    )


def test_every_concept_has_its_rows() -> None:
    ours = placeholders()
    for number, (concept, counts) in enumerate(zip(CONCEPTS, [(2, 2), (1, 2), (3, 3)], strict=True)):
        vectors = ours.vectors(concept.token)
        assert torch.equal(vectors["clip_l"], randn(counts[0], 4, seed=number))
        assert torch.equal(vectors["clip_g"], randn(counts[1], 6, seed=number))
    assert ours.names == {"<a>": ("<a>", "<a>_1"), "<b>": ("<b>", "<b>_1", "<b>_2")}
    assert ours.spans["<b>"] == {"clip_l": slice(3, 6), "clip_g": slice(4, 7)}
    parameters = {name: (each.dtype, each.requires_grad) for name, each in ours.named_parameters()}
    assert parameters == {"rows.clip_l": (torch.float32, True), "rows.clip_g": (torch.float32, True)}


def test_rows_are_float32_and_not_the_table_itself() -> None:
    table = randn(3, 4).half()
    ours = Placeholders(CONCEPTS[:1], [{"clip_l": table}])
    with torch.no_grad():
        ours.rows["clip_l"] += 1
    assert ours.rows["clip_l"].dtype == torch.float32
    assert torch.equal(table, randn(3, 4).half())
    single = randn(3, 4)
    with torch.no_grad():
        Placeholders(CONCEPTS[:1], [{"clip_l": single}]).rows["clip_l"].zero_()
    assert torch.equal(single, randn(3, 4))


def test_copies_do_not_follow_the_rows() -> None:
    ours = placeholders()
    vectors, snapshot = ours.vectors("<a>"), ours.snapshot()
    start = vectors["clip_l"].clone()
    with torch.no_grad():
        for rows in ours.rows.values():
            rows.zero_()
    assert torch.equal(vectors["clip_l"], start)
    assert torch.equal(snapshot["clip_l"][:2], start)
    ours.load(snapshot)
    assert torch.equal(ours.vectors("<a>")["clip_l"], start)
    assert all(parameter.requires_grad for parameter in ours.parameters())


def test_holding_other_rows_for_a_while() -> None:
    ours = placeholders()
    embedding = PlaceholderEmbedding(nn.Embedding(10, 4), list(range(10, 16)), ours.rows["clip_l"])
    present = ours.snapshot()
    with ours.holding({slot: torch.zeros_like(rows) for slot, rows in present.items()}):
        assert embedding(torch.tensor([10, 15])).count_nonzero() == 0  # what borrows the rows sees the others
    assert torch.equal(embedding(torch.tensor([10, 15])), present["clip_l"][[0, 5]])
    with pytest.raises(RuntimeError, match="inside"), ours.holding({slot: rows + 1 for slot, rows in present.items()}):
        raise RuntimeError("inside")
    assert all(torch.equal(rows, present[slot]) for slot, rows in ours.snapshot().items())
