"""How rows move: the table of update rules.

Settings are checked against this table before torch is loaded: what a row builds is imported when it is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import BadInput
from ..files.wording import flag

if TYPE_CHECKING:
    from torch.nn import Parameter
    from torch.optim import Optimizer

Rows = Iterable["Parameter"]  # of one concept: (n, D) float32 for each of its slots


@dataclass(frozen=True)
class UpdateRule:
    """A row of OPTIMIZERS."""

    build: Callable[[Rows, float, float, Mapping[str, float]], Optimizer]  # rows, lr, weight decay, settings
    settings: Mapping[str, float] = field(default_factory=dict)  # its own, and their defaults
    clips: bool = True  # whether gradients are clipped before it
    decays: bool = True  # whether it knows weight decay


def adamw(rows: Rows, lr: float, weight_decay: float, settings: Mapping[str, float]) -> Optimizer:
    """Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2."""
    from torch.optim import AdamW

    betas = (settings["beta1"], settings["beta2"])
    # fused: one operation for each parameter; these have a few kilobytes
    return AdamW(rows, lr=lr, betas=betas, eps=settings["eps"], weight_decay=weight_decay, fused=True)


def sphere(rows: Rows, lr: float, weight_decay: float, settings: Mapping[str, float]) -> Optimizer:
    """Rows that turn and keep their length; weight_decay is 0."""
    from .sphere import Sphere

    betas = (settings["beta1"], settings["beta2"])
    return Sphere(rows, lr, betas, settings["length"], settings["rho"])


OPTIMIZERS: dict[str, UpdateRule] = {
    "adamw": UpdateRule(adamw, {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}),
    # it divides by the size of gradients: clipping some steps' would only change how much these count
    "sphere": UpdateRule(sphere, {"beta1": 0.9, "beta2": 0.99, "length": 1, "rho": 0}, clips=False, decays=False),
}


def parse_optimizer(text: str) -> tuple[UpdateRule, dict[str, float]]:
    """The rule and all its settings of "adamw" or "adamw:beta2=0.99,eps=1e-6"; raises BadInput."""
    name, _, arguments = text.partition(":")
    rule = OPTIMIZERS.get(name)
    if rule is None:
        raise BadInput(f"{flag('optimizer')} is '{text}'; choose one of {', '.join(OPTIMIZERS)}")
    settings = dict(rule.settings)
    for argument in arguments.split(",") if arguments else ():
        key, _, value = argument.partition("=")
        try:
            settings[key.strip()] = float(value)
        except ValueError:
            raise BadInput(
                f"{flag('optimizer')} is '{text}', and '{value}' is no number; write {name}:NAME=NUMBER"
            ) from None
    unknown = [key for key in settings if key not in rule.settings]
    if unknown:
        known = ", ".join(rule.settings) or "none"
        raise BadInput(f"{flag('optimizer')} is '{text}', and {name} has no setting '{unknown[0]}'; it has {known}")
    return rule, settings


def check_optimizer(text: str) -> None:
    """Raises BadInput when there is no such optimiser, or no such setting of it."""
    parse_optimizer(text)


def check_weight_decay(optimizer: str, weight_decay: float) -> None:
    """Raises BadInput for a weight decay that the optimiser does not know."""
    rule, _ = parse_optimizer(optimizer)
    if weight_decay and not rule.decays:
        raise BadInput(
            f"{flag('weight_decay', weight_decay)} does nothing to rows that keep their length: leave it out, or "
            f"choose another {flag('optimizer')} than {optimizer}"
        )


def make_optimizer(text: str, rows: Rows, lr: float, weight_decay: float) -> Optimizer:
    """The optimiser that `parse_optimizer` reads; raises BadInput, also for settings that the rule refuses."""
    rule, settings = parse_optimizer(text)
    try:
        return rule.build(rows, lr, weight_decay, settings)
    except ValueError as error:
        raise BadInput(f"{flag('optimizer')} is '{text}': {error}") from None
