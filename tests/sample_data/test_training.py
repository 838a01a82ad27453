"""The loop that all stages share: its schedule, its averaging, and that an interruption leaves no trace."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sample_data.world import training
from sample_data.world.settings import FLOW_PLAN, PLANS, Plan
from sample_data.world.training import Draws, fit, learning_rate, load_averaged

PLAN = Plan(steps=20, batch=8, lr=0.05, decay_steps=10, warmup_steps=4, weight_decay=0.1, ema=0.8)


def untrained() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def loss(model: nn.Linear, draws: Draws, step: int) -> Tensor:
    inputs = torch.from_numpy(draws.numpy.standard_normal((PLAN.batch, 3))).float()
    wanted = inputs[:, :2] * 3 + draws.normal_like(inputs[:, :2])
    return (model(inputs.to(model.weight.device)) - wanted.to(model.weight.device)).square().mean()


def evaluate(model: nn.Linear) -> dict[str, float]:
    return {"norm": model.weight.norm().item()}


def test_learning_rate_warms_up_stays_and_falls_like_a_cosine() -> None:
    plan = Plan(steps=1_000, batch=1, lr=0.2, decay_steps=400, warmup_steps=100)
    assert learning_rate(plan, 0) == pytest.approx(0.2 / 100)
    assert learning_rate(plan, 49) == pytest.approx(0.1)
    for step in (99, 100, 350, 600):
        assert learning_rate(plan, step) == pytest.approx(0.2)
    for step in range(600, 1_000):
        assert learning_rate(plan, step) == pytest.approx(0.1 * (1 + math.cos(math.pi * (step - 600) / 400)))


@pytest.mark.parametrize("plan", [*PLANS.values(), FLOW_PLAN], ids=[*PLANS, "flow"])
def test_plans_are_consistent(plan: Plan) -> None:
    assert plan.warmup_steps + plan.decay_steps <= plan.steps
    assert learning_rate(plan, plan.steps - 1) < 1e-3 * plan.lr


def test_draws_are_a_function_of_stage_and_step() -> None:
    def numbers(stage: str, step: int) -> list[float]:
        draws = Draws(stage, step)
        return [*draws.numpy.random(2).tolist(), *draws.normal_like(torch.zeros(2)).tolist()]

    assert numbers("vae", 3) == numbers("vae", 3)
    different = [numbers("vae", 3), numbers("vae", 4), numbers("unet", 3)]
    assert len({number for row in different for number in row}) == 12


def test_fit_is_adamw_with_clipping_and_an_average(tmp_path: Path) -> None:
    fitted = fit("test", untrained(), loss, PLAN, tmp_path, evaluate)

    model = untrained()
    decay = [{"params": [model.weight], "weight_decay": 0.1}, {"params": [model.bias], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(decay, lr=0.0, betas=(0.9, PLAN.beta2))
    average: list[Tensor] = []
    for step in range(PLAN.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(PLAN, step)
        optimizer.zero_grad()
        loss(model, Draws("test", step), step).backward()
        norm = math.sqrt(sum(p.grad.square().sum().item() for p in model.parameters() if p.grad is not None))
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.grad *= min(1.0, 1.0 / norm)
        optimizer.step()
        now = [p.detach().clone() for p in model.parameters()]
        average = [0.8 * a + 0.2 * b for a, b in zip(average, now, strict=True)] if average else now
    for found, wanted in zip(fitted.parameters(), average, strict=True):
        torch.testing.assert_close(found.detach().cpu(), wanted, rtol=1e-5, atol=1e-6)


def test_a_resumed_run_equals_an_undisturbed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_STEPS", 5)
    (tmp_path / "whole").mkdir()
    (tmp_path / "halves").mkdir()
    whole = fit("test", untrained(), loss, PLAN, tmp_path / "whole", evaluate)

    def interrupted(model: nn.Linear, draws: Draws, step: int) -> Tensor:
        if step == 13:
            raise KeyboardInterrupt
        return loss(model, draws, step)

    with pytest.raises(KeyboardInterrupt):
        fit("test", untrained(), interrupted, PLAN, tmp_path / "halves", evaluate)
    checkpoint = tmp_path / "halves" / "test.pt"
    assert torch.load(checkpoint, weights_only=True)["step"] == 10
    steps = []

    def noted(model: nn.Linear, draws: Draws, step: int) -> Tensor:
        steps.append(step)
        return loss(model, draws, step)

    resumed = fit("test", untrained(), noted, PLAN, tmp_path / "halves", evaluate)
    assert steps == list(range(10, 20))
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
        assert torch.equal(load_averaged(untrained(), checkpoint).state_dict()[name].to(value.device), value), name


def test_a_finished_stage_is_only_loaded(tmp_path: Path) -> None:
    finished = fit("test", untrained(), loss, PLAN, tmp_path, evaluate)

    def never(model: nn.Linear, draws: Draws, step: int) -> Tensor:
        raise AssertionError("trained again")

    again = fit("test", untrained(), never, PLAN, tmp_path, evaluate)
    assert torch.equal(again.weight, finished.weight)
