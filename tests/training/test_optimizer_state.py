"""What a checkpoint keeps of an optimiser: tensors and plain values, of parameters and of groups."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from tests.running import on_step
from ti_trainer import TrainConfig, train
from ti_trainer.method.optimizers import OPTIMIZERS, UpdateRule
from ti_trainer.training.optimizer_state import put_together, take_apart


class Remembering(Optimizer):
    """Steps whose length depends on a number of the group, on a count and on a tensor of each parameter."""

    def __init__(self, parameters: Any, lr: float, decay: float) -> None:
        super().__init__(
            parameters, {"lr": lr, "decay": decay, "rate": 1.0, "span": (0.5, 2.0), "mean": torch.zeros(2)}
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            group["rate"] *= group["decay"]
            group["mean"] = group["mean"] + group["rate"]
            for rows in group["params"]:
                state = self.state[rows]
                state["count"] = state.get("count", 0) + 1
                state["sum"] = state.get("sum", torch.zeros_like(rows)) + rows.grad
                length = group["lr"] * group["rate"] * group["mean"][0] * group["span"][0] / state["count"]
                rows.sub_(length * state["sum"])


def remembering(rows: Any, lr: float, weight_decay: float, settings: Any) -> Optimizer:
    return Remembering(rows, lr, settings["decay"])


def move(rows: Tensor, optimizer: Optimizer, count: int) -> None:
    for number in range(count):
        rows.grad = torch.full_like(rows, number + 1.0) * rows.detach().cos()
        optimizer.step()


def test_everything_comes_back_through_json() -> None:
    first = Parameter(torch.linspace(0, 1, 6).reshape(2, 3))
    whole = Remembering([first], 0.1, 0.9)
    move(first, whole, 3)
    tensors, values = take_apart(whole)
    assert set(tensors) == {"0.sum", "group0.mean"}
    assert values["0.count"] == 3
    assert values["group0.rate"] == 0.9 * 0.9 * 0.9
    second = Parameter(first.detach().clone())
    other = Remembering([second], 0.1, 0.5)
    put_together(other, tensors, json.loads(json.dumps(values)))
    assert other.param_groups[0]["span"] == (0.5, 2.0)
    move(first, whole, 2)
    assert tensors["group0.mean"][0] == pytest.approx(0.9 + 0.81 + 0.729)  # a copy
    move(second, other, 2)
    assert torch.equal(first, second)


@pytest.mark.parametrize("name", [*sorted(OPTIMIZERS), "remembering:decay=0.8"])
def test_a_resumed_run_is_the_undisturbed_one(
    name: str, make_config: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every update rule, and with one that remembers in all four places."""
    monkeypatch.setitem(OPTIMIZERS, "remembering", UpdateRule(remembering, {"decay": 0.9}))
    config = make_config(optimizer=name, steps=6, checkpoint_every=1, validate_every=0)

    class Cut(BaseException):
        pass

    def cut(record: Any) -> None:
        if record["step"] == 4:
            raise Cut

    whole = train(replace(config, name="whole"))
    with pytest.raises(Cut):
        train(config, [on_step(cut)])
    again = train(replace(config, resume=True))
    assert Path(again.embedding).read_bytes() == Path(whole.embedding).read_bytes()
