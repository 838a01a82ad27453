"""What attention reads, against its definition, and when two contexts are the same to it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ti_trainer.method.readouts import QUERIES, SHARPNESS, Readouts, read


def draws(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_reading_is_attention() -> None:
    """torch's own attention, with the scale taken out and with a mask."""
    keys, queries = draws(7, 5), draws(3, 5, seed=1)
    mask = torch.tensor([True, True, False, True, True, False, True])
    for given in (None, mask):
        wanted = torch.nn.functional.scaled_dot_product_attention(
            queries[None], keys[None], keys[None], None if given is None else given[None], scale=1.0
        )[0]
        torch.testing.assert_close(read(keys, queries, given), wanted)
    torch.testing.assert_close(read(keys, queries, mask), read(keys[mask], queries))


def test_two_keys_in_closed_form() -> None:
    """Of keys a and -a a query q reads tanh(q . a) a."""
    a = torch.tensor([[2.0, -1.0]])
    q = torch.tensor([[0.3, 0.1]])
    torch.testing.assert_close(read(torch.cat([a, -a]), q), math.tanh(0.5) * a)


def test_order_and_number_of_positions_do_not_matter() -> None:
    """Other contexts of the same readings have the loss 0: turned round, or with every position twice."""
    context = 3 * draws(9, 16) + 5
    target = Readouts.of(context)
    queries = target.queries(torch.Generator().manual_seed(2))
    assert queries.shape == (QUERIES + 9, 16)
    for same in (context, context.flip(0), context.repeat_interleave(2, 0)):
        assert target.loss(same, queries).item() == pytest.approx(0, abs=1e-10)
    mask = torch.tensor([True] * 9 + [False] * 4)
    padded = torch.cat([context, draws(4, 16, seed=3)])
    assert target.loss(padded, queries, mask).item() == pytest.approx(0, abs=1e-10)
    assert torch.equal(Readouts.of(padded, mask).keys, target.keys)
    assert target.loss(padded, queries).item() > 1e-3
    assert target.loss(context[:5], queries).item() > 1e-3


def test_the_loss_is_the_same_for_columns_of_any_scale() -> None:
    context, other = draws(9, 16), draws(5, 16, seed=1)
    scale, shift = draws(16, seed=2).exp(), 10 * draws(16, seed=3)
    losses = []
    for one, two in ((context, other), (context * scale + shift, other * scale + shift)):
        target = Readouts.of(one)
        losses.append(target.loss(two, target.queries(torch.Generator().manual_seed(4))).item())
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_products_have_one_size() -> None:
    target = Readouts.of(draws(200, 64))
    products = target.queries(torch.Generator().manual_seed(1))[:QUERIES] @ target.keys.T
    assert products.std().item() == pytest.approx(SHARPNESS, rel=0.05)


def test_a_column_that_never_changes_is_harmless() -> None:
    context = draws(6, 4)
    context[:, 2] = 1.5
    target = Readouts.of(context)
    assert target.loss(context, target.queries(torch.Generator().manual_seed(1))).item() == pytest.approx(0, abs=1e-10)
