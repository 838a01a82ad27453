"""The training loop of all stages: it can be resumed, and averages the weights."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from .settings import SEED, Plan

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
CHECKPOINT_STEPS = 250
Model = TypeVar("Model", bound=nn.Module)


class Draws:
    """The random numbers of one step, a function of stage and step, so that a resumed run goes on with new ones."""

    def __init__(self, stage: str, step: int) -> None:
        seed = np.random.SeedSequence([SEED, *stage.encode(), step])
        self.numpy = np.random.default_rng(seed)
        self.torch = torch.Generator().manual_seed(int(seed.generate_state(1, np.uint64)[0] >> 1))

    def normal_like(self, tensor: Tensor) -> Tensor:
        return torch.randn(tensor.shape, generator=self.torch).to(tensor.device)


def learning_rate(plan: Plan, step: int) -> float:
    """The learning rate of a step, see `Plan`."""
    remaining = (plan.steps - step) / plan.decay_steps
    falling = 1.0 if remaining >= 1 else 0.5 - 0.5 * math.cos(math.pi * remaining)
    return plan.lr * min(1.0, (step + 1) / plan.warmup_steps) * falling


def fit(
    stage: str,
    model: Model,
    loss: Callable[[Model, Draws, int], Tensor],
    plan: Plan,
    folder: Path,
    evaluate: Callable[[Model], dict[str, float]],
) -> Model:
    """Minimise `loss(model, draws, step)`; returns a model with the averaged weights.

    Goes on from the checkpoint `folder/STAGE.pt` if there is one. Prints the figures of `evaluate` ten times.
    """
    model = model.to(DEVICE).train()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(plan.ema))
    averaged = cast(Model, average.module)
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": plan.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, plan.lr, betas=(0.9, plan.beta2))
    parts: dict[str, Any] = {"model": model, "average": average, "optimizer": optimizer}
    path = folder / f"{stage}.pt"
    first = 0
    if path.exists():
        state = torch.load(path, map_location=DEVICE, weights_only=True)
        first = state.pop("step")
        for name, part in parts.items():
            part.load_state_dict(state[name])

    bar = tqdm(range(first, plan.steps), desc=stage, initial=first, total=plan.steps, mininterval=5)
    running = 0.0
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(plan, step)
        value = loss(model, Draws(stage, step), step)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(matrices + vectors, 1.0)
        optimizer.step()
        average.update_parameters(model)
        running += (value.item() - running) / min(step - first + 1, 100)
        bar.set_postfix(loss=f"{running:.4f}", refresh=False)
        if (step + 1) % max(1, plan.steps // 10) == 0:
            figures = {name: round(figure, 4) for name, figure in evaluate(averaged.eval()).items()}
            tqdm.write(f"{stage} step {step + 1}: loss {running:.4f} {figures}")
        if (step + 1) % CHECKPOINT_STEPS == 0 or step + 1 == plan.steps:
            state = {name: part.state_dict() for name, part in parts.items()} | {"step": step + 1}
            torch.save(state, path.with_suffix(".part"))
            os.replace(path.with_suffix(".part"), path)
    return averaged.eval()


def load_averaged(model: Model, checkpoint: Path) -> Model:
    """A copy of `model` with the averaged weights of a checkpoint of `fit`, finished or not."""
    average = AveragedModel(model)
    average.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["average"])
    return cast(Model, average.module).eval()
