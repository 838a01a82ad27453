"""Steps on the sphere against the formulas, one row at a time in float64."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from tests.learning import learners_of, prepare_all, share, take_steps
from tests.running import MakeConfig, MakeTwo
from ti_trainer import BadInput, TrainConfig
from ti_trainer.method.lengths import turned
from ti_trainer.method.optimizers import make_optimizer
from ti_trainer.method.sphere import Sphere
from ti_trainer.training.learner import Learner
from ti_trainer.training.step import SharedStep


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def steps_of_one_row(
    row: list[float], gradients: list[list[float]], lr: float, betas: tuple[float, float], length: float, rho: float
) -> list[list[float]]:
    """The row after each step, with Python's numbers alone."""

    def dot(one: list[float], other: list[float]) -> float:
        return math.fsum(a * b for a, b in zip(one, other, strict=True))

    def tangent(vector: list[float], at: list[float]) -> list[float]:
        along = dot(vector, at)
        return [a - along * b for a, b in zip(vector, at, strict=True)]

    norm = math.sqrt(dot(row, row))
    kept = length * norm
    start = [a / norm for a in row]
    u = start
    mean = [0.0] * len(row)
    square = [0.0] * len(row)
    found = []
    for t, gradient in enumerate(gradients, start=1):
        norm = math.sqrt(dot(row, row))
        slope = tangent([norm * a for a in gradient], u)
        size = math.sqrt(dot(slope, slope))
        slope = [a - rho * size * b for a, b in zip(slope, tangent(start, u), strict=True)]
        mean = [betas[0] * m + (1 - betas[0]) * a for m, a in zip(mean, slope, strict=True)]
        square = [betas[1] * v + (1 - betas[1]) * a * a for v, a in zip(square, slope, strict=True)]
        step = [m / (1 - betas[0] ** t) / math.sqrt(v / (1 - betas[1] ** t)) for m, v in zip(mean, square, strict=True)]
        moved = [a - lr / math.sqrt(len(row)) * b for a, b in zip(u, tangent(step, u), strict=True)]
        norm = math.sqrt(dot(moved, moved))
        u = [a / norm for a in moved]
        row = [kept * a for a in u]
        found.append(row)
    return found


@pytest.mark.parametrize(
    ("name", "betas", "length", "rho"),
    [
        ("sphere", (0.9, 0.99), 1.0, 0.0),
        ("sphere:rho=0.5", (0.9, 0.99), 1.0, 0.5),
        ("sphere:beta1=0,beta2=0.5,length=2.5,rho=2", (0.0, 0.5), 2.5, 2.0),
    ],
)
def test_steps_against_the_formulas(name: str, betas: tuple[float, float], length: float, rho: float) -> None:
    lr = 0.07
    rows = Parameter(randn(3, 5))
    gradients = [1e-3 * randn(3, 5, seed=number) for number in range(1, 7)]
    wanted = [
        steps_of_one_row(
            rows[number].double().tolist(), [g[number].double().tolist() for g in gradients], lr, betas, length, rho
        )
        for number in range(3)
    ]
    optimizer = make_optimizer(name, [rows], lr, 0.0)
    for count, gradient in enumerate(gradients):
        rows.grad = gradient.clone()
        optimizer.step()
        expected = torch.tensor([steps[count] for steps in wanted], dtype=torch.float64)
        torch.testing.assert_close(rows.detach().double(), expected, rtol=0, atol=2e-5)


def test_the_length_stays_and_the_step_is_an_angle() -> None:
    """The first step turns each row by atan(lr |P(sign of the gradient)| / sqrt(D)), which is nearly lr."""
    rows = Parameter(randn(4, 16) * torch.tensor([[0.01], [0.4], [1.0], [30.0]]))
    lengths = rows.detach().double().norm(dim=1)
    before = rows.detach().clone()
    optimizer = make_optimizer("sphere", [rows], 0.04, 0.0)
    for number in range(300):
        rows.grad = randn(4, 16, seed=number + 1)
        optimizer.step()
        if number == 0:
            u = before.double() / lengths[:, None]
            slope = rows.grad.double() - (rows.grad.double() * u).sum(1, keepdim=True) * u
            sign = slope.sign() - (slope.sign() * u).sum(1, keepdim=True) * u
            angles = turned({"": rows.detach()}, {"": before})
            torch.testing.assert_close(angles, (0.04 * sign.norm(dim=1) / 4).atan().rad2deg(), rtol=1e-4, atol=0)
            assert angles.min() > 0.9 * math.degrees(0.04)
    torch.testing.assert_close(rows.detach().double().norm(dim=1), lengths, rtol=1e-6, atol=0)
    assert turned({"": rows.detach()}, {"": before}).min() > 5


def test_another_length() -> None:
    """Nothing is rescaled before the first step, so that what is measured at step 0 is the start."""
    rows = Parameter(randn(2, 8))
    before = rows.detach().clone()
    optimizer = make_optimizer("sphere:length=1.5", [rows], 0.06, 0.0)
    assert torch.equal(rows, before)
    for number in range(3):
        rows.grad = randn(2, 8, seed=number + 1)
        optimizer.step()
        torch.testing.assert_close(rows.norm(dim=1), 1.5 * before.norm(dim=1), rtol=1e-6, atol=0)


def test_rows_move_one_by_one() -> None:
    """Concepts in one parameter turn as they would alone, to the bit, and a row without a gradient stays."""
    both = Parameter(randn(5, 8))
    alone = [Parameter(part.clone()) for part in both.detach().split([2, 3])]
    idle = Parameter(randn(1, 8, seed=9))
    before = idle.detach().clone()
    ours = make_optimizer("sphere:rho=0.3", [both, idle], 0.06, 0.0)
    theirs = [make_optimizer("sphere:rho=0.3", [part], 0.06, 0.0) for part in alone]
    for step in range(4):
        gradient = randn(5, 8, seed=step + 1)
        both.grad = gradient
        for part, part_gradient, optimizer in zip(alone, gradient.split([2, 3]), theirs, strict=True):
            part.grad = part_gradient.clone()
            optimizer.step()
        ours.step()
    assert torch.equal(both.detach(), torch.cat(alone).detach())
    assert torch.equal(idle.detach(), before)


def test_the_pull_leads_back_to_the_start() -> None:
    """Of a loss that is least far away: with rho = 2 the rows end nearer to their start, and where pull and loss agree.

    The loss is 1 - u.w. Its gradient in the tangent has the size sin(b) at the angle b from w, and the pull rho sin(b)
    sin(a) at the angle a from the start, with a + b = 90 degrees; they are equal where sin(a) = 1 / rho.
    """
    start, aim = torch.eye(6)[:2]
    angles = {}
    for rho in (0.0, 2.0):
        rows = Parameter(start[None].clone())
        optimizer = make_optimizer(f"sphere:rho={rho}", [rows], 0.025, 0.0)
        for number in range(600):
            optimizer.param_groups[0]["lr"] = 0.025 * (1 - number / 600)
            (rows.grad,) = torch.autograd.grad(1 - torch.nn.functional.normalize(rows, dim=1) @ aim, [rows])
            optimizer.step()
        angles[rho] = turned({"": rows.detach()}, {"": start[None]}).item()
    assert angles[0.0] == pytest.approx(90, abs=0.5)
    assert angles[2.0] == pytest.approx(30, abs=0.5)


def test_angles_do_not_depend_on_the_scale_of_the_table(model: Path, make_config: MakeConfig) -> None:
    """A run on a table 3 times as long, behind which stands a factor 1/3: the same directions, 3 times as long.

    The gradients of such rows are a third. With AdamW the same two runs differ.
    """
    differences = {}
    for optimizer in ("sphere:rho=0.2", "adamw"):
        config = make_config(model=str(model), optimizer=optimizer, lr=0.1, lr_schedule="cosine", validate_every=0)
        plain_step, (plain,) = learners_of([config])
        take_steps(plain_step, [plain], 6)
        scaled_step, scaled = scaled_learner(config, 3.0)
        take_steps(scaled_step, [scaled], 6)
        assert turned(plain.rows, plain.initial).min() > 3
        torch.testing.assert_close(scaled.initial["clip_l"], 3 * plain.initial["clip_l"])
        differences[optimizer] = turned(scaled.snapshot(), plain.snapshot()).max().item()
        if optimizer != "adamw":
            torch.testing.assert_close(scaled.rows["clip_l"], 3 * plain.rows["clip_l"], rtol=1e-3, atol=1e-4)
    assert differences["sphere:rho=0.2"] < 0.02
    assert differences["adamw"] > 3


def scaled_learner(config: TrainConfig, scale: float) -> tuple[SharedStep, Learner]:
    """A learner on the same model with its table `scale` times as long, and 1/scale behind it."""
    (session,) = prepare_all([config])
    embedding = session.family.slots[0].encoder.get_input_embeddings()
    with torch.no_grad():
        embedding.frozen.weight.mul_(scale)
        for rows in session.rows.values():
            rows.mul_(scale)
    embedding.register_forward_hook(lambda module, inputs, output: output / scale)
    step, (learner,) = share([session])
    return step, learner


def test_two_concepts_learn_what_each_learns_alone(make_two: MakeTwo) -> None:
    configs = make_two(optimizer="sphere:rho=0.1", lr=0.06, lr_schedule="cosine")
    step, together = learners_of(configs)
    take_steps(step, together, 4)
    for config, learner in zip(configs, together, strict=True):
        step, (alone,) = learners_of([config])
        take_steps(step, [alone], 4)
        assert turned(learner.rows, learner.initial).min() > 1
        assert turned(learner.snapshot(), alone.snapshot()).max() < 0.02


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("beta1=1", "beta1 is 1; choose at least 0"),
        ("beta2=-0.5", "beta2 is -0.5; choose"),
        ("length=0", "length is 0; choose a positive number"),
        ("length=nan", "length is nan"),
        ("rho=-1", "rho is -1; choose 0 or"),
        ("eps=1", "has no setting 'eps'; it has beta1, beta2, length, rho"),
    ],
)
def test_settings_that_are_refused(settings: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        make_optimizer(f"sphere:{settings}", [Parameter(randn(2, 3))], 0.01, 0.0)


def test_a_row_without_a_direction_is_refused() -> None:
    with pytest.raises(ValueError, match="no direction"):
        Sphere([Parameter(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))], 0.01, (0.9, 0.99))


def test_gradients_are_not_clipped_before_it(make_config: MakeConfig) -> None:
    """The steps are the same whatever max_grad_norm says; AdamW's are not, because the gradients differ in size."""
    for name, differs in (("sphere", False), ("adamw", True)):
        ends = []
        for most in (1e-3, 0.0):
            _, (learner,) = learners_of([make_config(optimizer=name, max_grad_norm=most, num_vectors=1)])
            for number in range(3):
                (rows,) = learner.parameters
                rows.grad = 10.0**-number * randn(*rows.shape, seed=number)
                learner.update(torch.tensor(1.0))
            ends.append(learner.snapshot()["clip_l"])
        assert torch.equal(*ends) != differs
