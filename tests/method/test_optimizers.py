import pytest
import torch
from torch.nn import Parameter

from ti_trainer.config.config import TrainConfig
from ti_trainer.errors import BadInput
from ti_trainer.method.optimizers import make_optimizer, parse_optimizer


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adamw(weight_decay: float) -> None:
    """Five steps against Loshchilov & Hutter 2019, algorithm 2, written out."""
    rows = Parameter(randn(3, 4))
    optimizer = make_optimizer("adamw", [rows], 1e-2, weight_decay)
    expected, mean, square = rows.detach().double(), torch.zeros(3, 4).double(), torch.zeros(3, 4).double()
    for step in range(1, 6):
        gradient = randn(3, 4, seed=step)
        rows.grad = gradient.clone()
        optimizer.step()
        expected = expected * (1 - 1e-2 * weight_decay)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient.double().square()
        expected -= 1e-2 * (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)
    torch.testing.assert_close(rows.detach().double(), expected, rtol=1e-5, atol=1e-6)


def test_adamw_moves_rows_one_by_one() -> None:
    """Concepts in one parameter move as they would alone, in a bare torch.optim.AdamW."""
    both = Parameter(randn(5, 8))
    alone = [Parameter(part.clone()) for part in both.detach().split([2, 3])]
    ours = make_optimizer("adamw", [both], 5e-3, 0.0)
    theirs = [torch.optim.AdamW([part], lr=5e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0) for part in alone]
    for step in range(4):
        gradient = randn(5, 8, seed=step + 1)
        both.grad = gradient
        for part, part_gradient, optimizer in zip(alone, gradient.split([2, 3]), theirs, strict=True):
            part.grad = part_gradient.clone()
            optimizer.step()
        ours.step()
    assert torch.equal(both.detach(), torch.cat(alone).detach())


def test_no_weight_decay_by_default() -> None:
    """Rows that get no gradient stay where they are, to the bit."""
    rows = Parameter(randn(2, 3))
    before = rows.detach().clone()
    (default,) = (f.default for f in TrainConfig.__dataclass_fields__.values() if f.name == "weight_decay")
    optimizer = make_optimizer("adamw", [rows], 1e-2, default)
    rows.grad = torch.zeros(2, 3)
    optimizer.step()
    assert torch.equal(rows.detach(), before)


def test_unknown_optimizer() -> None:
    with pytest.raises(BadInput, match="'sgd'; choose one of adamw"):
        parse_optimizer("sgd")
