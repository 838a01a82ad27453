"""Learners as the loop makes them, for tests that take the steps by hand, and what a step is, computed simply."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial

import torch
from torch import Tensor

from tests.drawing import draw_batch
from ti_trainer import TrainConfig
from ti_trainer.method.timesteps import parse_timesteps
from ti_trainer.method.weightings import get_weighting
from ti_trainer.training.learner import Learner
from ti_trainer.training.objective import denoising_losses
from ti_trainer.training.prepare import Session, load_model, prepare
from ti_trainer.training.processes import Processes
from ti_trainer.training.step import SharedStep, largest_batch


def prepare_all(configs: Sequence[TrainConfig]) -> list[Session]:
    """The sessions of some configs on one model; their keys are not their tokens."""
    processes = Processes("fp32")
    load = cache(partial(load_model, configs[0], processes.device, processes.dtype))
    return [prepare(config, load, f"runs/{number}") for number, config in enumerate(configs)]


def share(sessions: Sequence[Session]) -> tuple[SharedStep, list[Learner]]:
    """Learners at step 0, and the step that they share."""
    step = SharedStep(sessions[0].family, Processes("fp32"), largest_batch(sessions[0].config))
    return step, [Learner(session) for session in sessions]


def learners_of(configs: Sequence[TrainConfig]) -> tuple[SharedStep, list[Learner]]:
    return share(prepare_all(configs))


def take_steps(step: SharedStep, learners: Sequence[Learner], count: int) -> None:
    """As the loop does, but without readings."""
    for _ in range(count):
        for learner, loss in zip(learners, step.backward(learners), strict=True):
            learner.update(loss)


def one_by_one(learner: Learner) -> tuple[Tensor, list[Tensor]]:
    """The loss of a learner's present step and its gradient, an example at a time and from its config alone."""
    config = learner.config
    weighting, policy = get_weighting(config.weighting, config.gamma), parse_timesteps(config.timesteps)
    loss = torch.zeros(())
    for index in range(config.batch_size):
        batch = draw_batch(learner.data, config.seed, learner.step, [index], config.batch_size, policy)
        loss = loss + denoising_losses(learner.session.family, batch, weighting).mean() / config.batch_size
    return loss.detach(), list(torch.autograd.grad(loss, learner.parameters))
