import pytest
import torch
from torch.nn import Parameter

from ti_trainer import Concept, TrainConfig
from ti_trainer.errors import BadInput
from ti_trainer.method.lr_schedules import check_lr_schedule, from_steps, lr_factor


def test_constant() -> None:
    assert [lr_factor("constant", step, 5, 0) for step in range(5)] == [1] * 5


def test_warm_up() -> None:
    """Rises in equal parts, is never 0, and full after `warmup_steps`."""
    factors = [lr_factor("constant", step, 10, 4) for step in range(10)]
    assert factors == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 1, 1])


def test_linear() -> None:
    assert [lr_factor("linear", step, 4, 0) for step in range(4)] == pytest.approx([1, 0.75, 0.5, 0.25])
    after_warm_up = [lr_factor("linear", step, 6, 2) for step in range(6)]
    assert after_warm_up == pytest.approx([1 / 3, 2 / 3, 1, 0.75, 0.5, 0.25])


def test_cosine() -> None:
    """Equals torch's CosineAnnealingLR without warm-up, and the same curve moved with it."""
    optimizer = torch.optim.SGD([Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    theirs = []
    for _ in range(20):
        theirs.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert [lr_factor("cosine", step, 20, 0) for step in range(20)] == pytest.approx(theirs)
    assert [lr_factor("cosine", step, 27, 7) for step in range(7, 27)] == pytest.approx(theirs)
    assert lr_factor("cosine", 3, 27, 7) == pytest.approx(4 / 8)


@pytest.mark.parametrize("argument", ["3=0.5,6=0.1", "6=0.1,3=0.5", " 3 = 0.5 , 6 = 1e-1 "])
def test_piecewise(argument: str) -> None:
    factors = [lr_factor(f"piecewise:{argument}", step, 8, 0) for step in range(8)]
    assert factors == [1, 1, 1, 0.5, 0.5, 0.5, 0.1, 0.1]


def test_piecewise_with_warm_up_and_from_the_start() -> None:
    assert [lr_factor("piecewise:0=0.5", step, 4, 1) for step in range(4)] == [0.25, 0.5, 0.5, 0.5]


def test_rates_until_steps() -> None:
    """A1111's way: each rate holds until its step, the last one to the end."""
    lr, schedule = from_steps("0.05:200, 0.02:400, 0.005") or (0, "")
    rates = [lr * lr_factor(schedule, step, 600, 0) for step in range(600)]
    assert rates == pytest.approx([0.05] * 200 + [0.02] * 200 + [0.005] * 200)
    assert from_steps("5e-3") == (0.005, "constant")
    assert from_steps("0.1:5") == (0.1, "constant")  # the steps of the run are said elsewhere
    assert from_steps("cosine") is None
    config = TrainConfig(Concept("<a>"), lr=7, lr_schedule="0.05:200, 0.02:400, 0.005")
    assert (config.lr, config.lr_schedule) == (0.05, "piecewise:200=0.4,400=0.1")


@pytest.mark.parametrize("schedule", ["0.05:200, 0.02, 0.005", "0:5, 1", "0.1:x, 1", "1 2", "0.1:,1"])
def test_rates_that_are_refused(schedule: str) -> None:
    with pytest.raises(BadInput, match="write rates with the steps at which they end"):
        check_lr_schedule(schedule)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_factors_stay_between_0_and_1(schedule: str) -> None:
    for steps, warmup in ((1, 0), (1, 10), (5, 5), (100, 7)):
        factors = [lr_factor(schedule, step, steps, warmup) for step in range(steps)]
        assert all(0 < factor <= 1 for factor in factors)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "piecewise:5=0.5"])
def test_schedules_that_are_allowed(schedule: str) -> None:
    check_lr_schedule(schedule)


@pytest.mark.parametrize(
    "schedule",
    [
        "",
        "cosin",
        "linear:3",
        "piecewise",
        "piecewise:",
        "piecewise:3",
        "piecewise:3=",
        "piecewise:a=1",
        "piecewise:3=0.5,",
        "piecewise:3=nan",
        "piecewise:3=inf",
        "piecewise:3=-1",
        "piecewise:-3=1",
        "piecewise:1.5=1",
    ],
)
def test_schedules_that_are_refused(schedule: str) -> None:
    with pytest.raises(BadInput, match=r"choose constant, linear, cosine, or piecewise:100=0\.5,200=0\.1") as refusal:
        check_lr_schedule(schedule)
    assert f"'{schedule}'" in str(refusal.value)
