"""What an optimiser remembers, as tensors and plain values that a checkpoint can hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer


def take_apart(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A copy of the state of each parameter and of each group: the tensors, and all else, which must be JSON.

    Names are "0.exp_avg" for parameter 0 and "group0.lr" for group 0.
    """
    saved = optimizer.state_dict()
    parts = {str(number): state for number, state in saved["state"].items()}
    parts |= {f"group{number}": group for number, group in enumerate(saved["param_groups"])}
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {}
    for part, state in parts.items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"{part}.{name}"] = value.clone()
            elif name != "params":  # numbers of parameters, which the optimiser knows
                values[f"{part}.{name}"] = value
    return tensors, values


def put_together(optimizer: Optimizer, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """The inverse of `take_apart`; JSON has made lists of tuples."""
    present = optimizer.state_dict()
    groups = [dict(group) for group in present["param_groups"]]
    states: dict[int, dict[str, Any]] = {}
    for place, value in {**values, **tensors}.items():
        part, _, name = place.partition(".")
        copied = value.clone() if isinstance(value, Tensor) else tuple(value) if isinstance(value, list) else value
        if part.startswith("group"):
            groups[int(part.removeprefix("group"))][name] = copied
        else:
            states.setdefault(int(part), {})[name] = copied
    optimizer.load_state_dict({"state": states, "param_groups": groups})


def example_state(
    rows: Iterable[Tensor], build: Callable[[list[Parameter]], Optimizer], has_stepped: bool
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `take_apart` gives of a new optimiser, before or after a first step; its numbers mean nothing.

    Many optimisers make their state in the first step. From then on it has the same names, shapes and types.
    """
    twins = [Parameter(own.detach().clone()) for own in rows]
    optimizer = build(twins)
    if has_stepped:
        for twin in twins:
            twin.grad = torch.ones_like(twin)
        optimizer.step()
    return take_apart(optimizer)


def is_like(value: Any, other: Any) -> bool:
    """Whether a state, from JSON or not, has the parts of the other: names, lengths, types, and shapes of tensors."""
    if isinstance(other, Tensor):
        return isinstance(value, Tensor) and value.shape == other.shape and value.dtype == other.dtype
    if isinstance(other, Mapping):
        same = isinstance(value, Mapping) and value.keys() == other.keys()
        return same and all(is_like(value[name], part) for name, part in other.items())
    if isinstance(other, (list, tuple)):
        same = isinstance(value, (list, tuple)) and len(value) == len(other)
        return same and all(map(is_like, value, other))
    if isinstance(other, (int, float)) and not isinstance(other, bool):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is type(other)
