"""Picking and joining of what denoisers are told, against indexing and loops."""

import pytest
import torch

from ti_trainer.families.conditioning import Conditioning, join_windows, pick_rows


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_pick_rows_is_indexing() -> None:
    """Its numbers and its gradient, also of rows that are picked several times or never."""
    tensor, index = randn(4, 3, 2).requires_grad_(), [2, 0, 2, 1]
    upstream = randn(4, 3, 2)
    assert torch.equal(pick_rows(tensor, index), tensor[index])
    (found,) = torch.autograd.grad(pick_rows(tensor, index), tensor, upstream)
    (wanted,) = torch.autograd.grad(tensor[index], tensor, upstream)
    torch.testing.assert_close(found, wanted)
    assert torch.equal(found[3], torch.zeros(3, 2))


def test_every_part_is_picked() -> None:
    context, pooled, mask = randn(3, 4, 2), randn(3, 5), randn(3, 4) > 0
    picked = Conditioning(context, pooled, mask)[[2, 2, 0]]
    assert picked.pooled is not None
    assert picked.mask is not None
    assert torch.equal(picked.context, context[[2, 2, 0]])
    assert torch.equal(picked.pooled, pooled[[2, 2, 0]])
    assert torch.equal(picked.mask, mask[[2, 2, 0]])
    plain = Conditioning(context)[[1]]
    assert plain.pooled is None
    assert plain.mask is None


def test_windows_of_several_texts() -> None:
    """Three texts of 1, 3 and 2 windows of 4 tokens: each has its own in a row, and the mask says how far they go."""
    context, pooled = randn(6, 4, 2), randn(6, 5)
    joined = join_windows(Conditioning(context, pooled), [1, 3, 2])
    assert joined.context.shape == (3, 12, 2)
    for text, windows in enumerate(([0], [1, 2, 3], [4, 5])):
        own = torch.cat([context[number] for number in windows])
        assert torch.equal(joined.context[text, : len(own)], own)
        assert joined.mask is not None
        assert joined.mask[text].tolist() == [True] * len(own) + [False] * (12 - len(own))
    assert joined.pooled is not None
    assert torch.equal(joined.pooled, pooled[[0, 1, 4]])  # WebUIs pool the first window


@pytest.mark.parametrize("count", [1, 2])
def test_texts_of_one_length_have_no_mask(count: int) -> None:
    context = randn(3 * count, 4, 2)
    joined = join_windows(Conditioning(context), [count] * 3)
    assert joined.mask is None
    assert joined.pooled is None
    assert torch.equal(joined.context, context.reshape(3, count * 4, 2))


def test_masks_of_windows_are_joined() -> None:
    """Texts of 1 and 2 windows of 3 tokens: padding within windows stays left out, and what fills up is."""
    mask = torch.tensor([[True, True, False], [True, True, True], [True, False, False]])
    joined = join_windows(Conditioning(randn(3, 3, 2), mask=mask), [1, 2])
    assert joined.mask is not None
    wanted = [[True, True, False, False, False, False], [True, True, True, True, False, False]]
    assert joined.mask.tolist() == wanted
    alone = join_windows(Conditioning(randn(3, 3, 2), mask=mask), [1, 1, 1])
    assert alone.mask is not None
    assert torch.equal(alone.mask, mask)


def test_energy_has_a_gradient_of_all_that_is_told() -> None:
    """Twice each number: a row that reaches the pooled vector alone is not taken for a silent one."""
    context, pooled = randn(2, 3, 4).requires_grad_(), randn(2, 5).requires_grad_()
    gradients = torch.autograd.grad(Conditioning(context, pooled).energy, [context, pooled])
    torch.testing.assert_close(gradients[0], 2 * context.detach())
    torch.testing.assert_close(gradients[1], 2 * pooled.detach())
    assert Conditioning(torch.full((1, 2, 3), 2.0)).energy == 24
