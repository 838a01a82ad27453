"""The training loop: batch -> loss per example -> gradient of the rows -> better rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .config import TrainConfig
from .data.batches import draw_example, same_shape, stack_draws
from .errors import Diverged, Interrupted
from .export import export_embeddings
from .objective import denoising_losses
from .optimizers import clip_gradients, get_optimizer, lr_factor
from .prepare import Session, prepare
from .processes import Processes
from .reporting import Report
from .run_folder import Checkpoint, RunFolder
from .schedules import parse_timesteps
from .signals import StopSignals
from .validation import fixed_noise_loss
from .weightings import get_weighting

# Gradients of float16 activations vanish below 6e-8: the loss is scaled up, the rows' float32 gradients down again.
LOSS_SCALE = {torch.float32: 1.0, torch.bfloat16: 1.0, torch.float16: 4096.0}


@dataclass(frozen=True)
class Run:
    """What a finished run leaves."""

    folder: Path
    embeddings: dict[str, Path]  # token -> file for WebUIs
    history: list[dict[str, Any]]  # the lines of metrics.jsonl
    best_step: dict[str, int]  # token -> the step whose rows were saved


class Training:
    """What changes while a run goes on: the rows, the optimiser, the step, the best rows so far."""

    def __init__(self, session: Session, processes: Processes) -> None:
        config = session.config
        self.session, self.processes, self.config = session, processes, config
        self.placeholders = session.placeholders
        self.rows = list(self.placeholders.rows.values())  # one (R, D) for each slot
        self.optimizer = get_optimizer(config.optimizer)(self.rows, config.lr, config.weight_decay)
        self.weighting = get_weighting(config.weighting, config.gamma)
        self.timesteps = parse_timesteps(config.timesteps)
        self.initial = self.placeholders.snapshot()
        self.step = 0  # steps done
        self.best_rows = self.placeholders.snapshot()
        self.best: dict[str, list[float]] = {concept.token: [0, float("inf")] for concept in config.concepts}

    def gradients(self, stop: bool) -> tuple[Tensor, bool]:
        """Leave the gradient of the present step's batch, over all processes, in the rows.

        Each concept's loss is the mean over its own examples, and their sum is what is differentiated. Examples of one
        latent shape share a forward pass. Returns the losses (concepts,) and whether any process wants to stop.
        """
        config, session = self.config, self.session
        scale = LOSS_SCALE[self.processes.dtype]
        self.optimizer.zero_grad(set_to_none=False)
        mine = list(self.processes.share(config.batch_size))
        size = -(-len(mine) // config.gradient_accumulation) or 1
        draws = {
            (concept, place): draw_example(data, config.seed, self.step, mine[place], config.batch_size)
            for start in range(0, len(mine), size)
            for concept, data in enumerate(session.data)
            for place in range(start, min(start + size, len(mine)))
        }
        found = torch.zeros(len(session.data), len(mine), device=self.processes.device)
        for group in same_shape({key: draw.view for key, draw in draws.items()}, size * len(session.data)):
            batch = stack_draws([draws[key] for key in group], self.timesteps).to(self.processes.device)
            per_example = denoising_losses(session.family, batch, self.weighting)  # (B,)
            (per_example.sum() / config.batch_size * scale).backward()
            concepts, places = zip(*group, strict=True)
            found[concepts, places] = per_example.detach()
        losses = found.sum(1) / config.batch_size  # (concepts,), in one order however the examples were grouped

        gradients = [torch.zeros_like(rows) if rows.grad is None else rows.grad / scale for rows in self.rows]
        *gradients, losses, stops = self.processes.sum([*gradients, losses, losses.new_tensor([float(stop)])])
        for rows, gradient in zip(self.rows, gradients, strict=True):
            rows.grad = gradient
        return losses, bool(stops > 0)

    def update(self) -> float:
        """Move the rows along their gradients; returns the learning rate."""
        config = self.config
        gradients = dict(zip(self.placeholders.rows, [rows.grad for rows in self.rows], strict=True))
        clip_gradients(gradients, self.placeholders.spans, config.max_grad_norm)
        lr = config.lr * lr_factor(config.lr_schedule, self.step, config.steps, config.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.step += 1
        return lr

    def healthy(self, losses: Tensor) -> bool:
        """Whether the losses and all gradients are finite."""
        return all(bool(tensor.isfinite().all()) for tensor in (losses, *(rows.grad for rows in self.rows)))

    def validate(self) -> dict[str, float]:
        """The fixed-noise loss of each concept; rows that improve on it become the best."""
        config, session = self.config, self.session
        share = self.processes.share(config.validation_samples)
        parts = [
            fixed_noise_loss(
                session.family,
                data,
                config.seed,
                share,
                config.validation_samples,
                config.batch_size,
                self.timesteps,
            )
            for data in session.data
        ]
        (losses,) = self.processes.sum([torch.stack(parts)])
        found = {data.token: loss for data, loss in zip(session.data, losses.tolist(), strict=True)}
        for token, loss in found.items():
            if loss < self.best[token][1]:
                self.keep(token, loss)
        return found

    def keep(self, token: str, loss: float) -> None:
        """Make the present rows of a concept its best."""
        self.best[token] = [self.step, loss]
        for slot, span in self.placeholders.spans[token].items():
            self.best_rows[slot][span] = self.placeholders.rows[slot].detach()[span]

    def checkpoint(self) -> Checkpoint:
        """A copy of everything that changes."""
        tensors = {f"rows.{slot}": rows for slot, rows in self.placeholders.snapshot().items()}
        tensors |= {f"best.{slot}": rows.clone() for slot, rows in self.best_rows.items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value.clone() for name, value in state.items()}
        return Checkpoint(
            self.step, {name: tensor.cpu() for name, tensor in tensors.items()}, {"best": dict(self.best)}
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back, or on, to a checkpoint."""
        states: dict[int, dict[str, Tensor]] = {}
        for name, tensor in checkpoint.tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "rows":
                self.placeholders.load({rest: tensor})
            elif kind == "best":
                self.best_rows[rest].copy_(tensor)
            else:
                index, _, key = rest.partition(".")
                states.setdefault(int(index), {})[key] = tensor.clone()
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": states})
        self.step = checkpoint.step
        self.best = {token: list(best) for token, best in checkpoint.info["best"].items()}


def train(config: TrainConfig, callbacks: Sequence[Callable[[dict[str, Any]], None]] = ()) -> Run:
    """Learn the concepts of a config and write runs/NAME; each callback gets every line of metrics.jsonl.

    Raises BadInput before anything is written; Diverged when the loss becomes NaN or infinite, and Interrupted on
    SIGINT or SIGTERM. Both leave a checkpoint; after an interrupt the same config with `resume=True` goes on bit for
    bit.
    """
    started = time.perf_counter()
    folder = RunFolder(config)
    folder.check()
    processes = Processes(config.precision)
    processes.wait()  # all have checked the folder before one writes into it
    session = prepare(config, processes)
    training = Training(session, processes)
    with StopSignals() as signals, folder.locked(processes.is_main):
        if config.resume:
            training.restore(folder.load_checkpoint())
        report = None
        if processes.is_main:
            folder.create()  # after a resume too: it may be asked for more steps
            report = Report(session, folder, training.step, started, training.initial, callbacks)
        try:
            run_steps(training, folder, signals, report)
        finally:
            if report:
                report.close()
        if not config.validate_every:
            for data in session.data:
                training.keep(data.token, float("nan"))
        steps = {token: int(step) for token, (step, _) in training.best.items()}
        if report:
            files = export_embeddings(session, folder, training.best_rows, steps)
            report.finish(training.best_rows, steps)
        else:
            files = {concept.token: folder.embedding(concept) for concept in config.concepts}
    return Run(folder.path, files, folder.read_metrics(), steps)


def run_steps(training: Training, folder: RunFolder, signals: StopSignals, report: Report | None) -> None:
    """All steps that are left, with what is measured and saved between them."""
    config = training.config
    if training.step == 0:
        if config.validate_every:
            training.validate()
        if report:
            folder.save_checkpoint(training.checkpoint())
    before = training.checkpoint()  # the rows whose loss is known to be finite
    while training.step < config.steps:
        losses, stop = training.gradients(stop=signals.received is not None)
        if not training.healthy(losses):
            diverge(training, before, folder, report)
        before = training.checkpoint()
        lr = training.update()
        last = training.step == config.steps
        measured = config.validate_every and (training.step % config.validate_every == 0 or last)
        validation = training.validate() if measured else {}
        if report:
            report.step(training.step, losses, lr, validation)
            if stop or last or training.step % config.checkpoint_every == 0:
                folder.save_checkpoint(training.checkpoint())
        if stop and not last:
            message = f"stopped after step {training.step} of {config.steps}; to go on:\n  {folder.resume_command}"
            raise Interrupted(message, signals.received or 0)


def diverge(training: Training, good: Checkpoint, folder: RunFolder, report: Report | None) -> None:
    """Go back to the last good rows, save them, and stop."""
    step = training.step
    training.restore(good)
    if not training.config.validate_every:
        for token in training.best:
            training.keep(token, float("nan"))
    if report:
        folder.drop_checkpoints_after(good.step)
        folder.save_checkpoint(good)
        steps = {token: int(best) for token, (best, _) in training.best.items()}
        export_embeddings(training.session, folder, training.best_rows, steps)
    raise Diverged(
        f"the loss became NaN or infinite at step {step + 1}; the rows of step {good.step} are saved in {folder.path}. "
        f"Start again with a lower --lr than {training.config.lr:g} and --overwrite"
    )
