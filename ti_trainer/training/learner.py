"""A concept on its way: everything that changes while it is learned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from ..data.batches import Draw, draw_example
from ..data.examples import start_of
from ..method.clipping import clip_gradients
from ..method.lengths import lengths_of_words
from ..method.lr_schedules import lr_factor
from ..method.optimizers import make_optimizer, parse_optimizer
from ..method.stopping import Progress
from ..method.timesteps import parse_timesteps
from ..method.weightings import get_weighting
from ..runs.checkpoints import Checkpoint, Unusable
from .optimizer_state import example_state, is_like, put_together, take_apart
from .prepare import Session
from .validation import fixed_draw

MOST_PREVIEWS = 10  # of a run, where nobody says how often


@dataclass(frozen=True)
class Reading:
    """What one step was, still on the device: reading it can wait."""

    step: int  # after it
    lr: float
    loss: Tensor  # scalar
    finite: Tensor  # scalar bool: whether the loss and all gradients were
    before: Checkpoint  # of the rows that the loss is of
    after: Mapping[str, Tensor]  # the rows


class Learner:
    """One concept's rows, their optimiser, its step, and the best rows so far. It knows nothing of its neighbours."""

    def __init__(self, session: Session) -> None:
        config = session.config
        self.session = session
        self.config = config
        self.data = session.data
        self.rows = session.rows
        self.parameters = list(session.rows.values())  # one (n, D) for each slot
        self.optimizer = self.build_optimizer(self.parameters)
        rule, _ = parse_optimizer(config.optimizer)
        self.max_grad_norm = config.max_grad_norm if rule.clips else 0.0
        self.weighting = get_weighting(config.weighting, config.gamma)
        self.timesteps = parse_timesteps(config.timesteps)
        self.step = 0  # steps done
        self.initial = self.snapshot()
        self.words = self.lengths_of_words()
        self.best_rows = self.initial
        self.best_step = 0
        self.best_loss = float("inf")
        self.progress = Progress()
        self.readings: list[Reading] = []
        self.good = self.checkpoint()  # the last rows whose loss is known to be finite

    def build_optimizer(self, parameters: list[Parameter]) -> Optimizer:
        config = self.config
        return make_optimizer(config.optimizer, parameters, config.lr, config.weight_decay)

    def lengths_of_words(self) -> dict[str, Tensor]:
        """The length with which that of each row is compared, {slot: (n,)}."""
        vocabularies = {slot.name: slot for slot in self.session.family.slots}
        return lengths_of_words(start_of(self.config.concept), self.initial, vocabularies)

    @property
    def is_done(self) -> bool:
        """After its last step, or where the fixed-noise loss has stopped falling."""
        return self.step >= self.config.steps or self.has_stopped_falling

    @property
    def has_stopped_falling(self) -> bool:
        """Whether `early_stop` measurements in a row have brought little."""
        patience = self.config.early_stop * self.config.validate_every
        return 0 < patience <= self.step - self.progress.step

    @property
    def is_measured_now(self) -> bool:
        """Whether the fixed-noise loss is due, and with it the choice of the best rows."""
        every = self.config.validate_every
        return every > 0 and (self.step % every == 0 or self.step == self.config.steps)

    @property
    def is_saved_now(self) -> bool:
        """Whether a checkpoint is due."""
        return self.is_done or self.step % self.config.checkpoint_every == 0

    @property
    def is_exported_now(self) -> bool:
        """Whether an embedding file of the present rows is due."""
        return self.config.save_every > 0 and self.step % self.config.save_every == 0

    @property
    def is_previewed_now(self) -> bool:
        """Whether previews of the present rows are due, if there is time; the last rows are drawn when all is done."""
        every = self.config.preview_every
        if every is None:
            every = -(-self.config.steps // MOST_PREVIEWS) if self.config.plots else 0
        return every > 0 and not self.is_done and self.step % every == 0

    def draw(self, index: int) -> Draw:
        """Example `index` of the present step."""
        config = self.config
        return draw_example(self.data, config.seed, self.step, index, config.batch_size, self.timesteps)

    def fixed_draw(self, index: int) -> Draw:
        """Example `index` of the fixed-noise loss."""
        return fixed_draw(self.data, self.config.seed, index, self.config.validation_samples, self.timesteps)

    def update(self, loss: Tensor) -> None:
        """Move the rows along their gradients, and note what the step was; loss: scalar."""
        config = self.config
        before = self.checkpoint()
        gradients = [rows.grad for rows in self.parameters if rows.grad is not None]
        finite = torch.stack([tensor.isfinite().all() for tensor in (loss, *gradients)]).all()
        clip_gradients(gradients, self.max_grad_norm)
        lr = config.lr * lr_factor(config.lr_schedule, self.step, config.steps, config.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.step += 1
        self.readings.append(Reading(self.step, lr, loss, finite, before, self.snapshot()))

    def take_readings(self) -> tuple[list[Reading], Reading | None]:
        """What has been noted since the last time, up to the first step that was not finite, and that one.

        After such a step the rows are the last ones whose loss is known to be finite.
        """
        readings = self.readings
        self.readings = []
        finite = torch.stack([reading.finite for reading in readings]).tolist() if readings else []
        count = finite.index(False) if False in finite else len(finite)
        if count:
            self.good = readings[count - 1].before
        if count == len(finite):
            return readings, None
        self.go_to(self.good)
        return readings[:count], readings[count]

    def snapshot(self) -> dict[str, Tensor]:
        """A copy of the rows, {slot: (n, D)}."""
        return {slot: rows.detach().clone() for slot, rows in self.rows.items()}

    @torch.no_grad()
    def load(self, rows: Mapping[str, Tensor]) -> None:
        for slot, values in rows.items():
            self.rows[slot].copy_(values)

    @contextmanager
    def holding(self, rows: Mapping[str, Tensor]) -> Iterator[None]:
        """These rows inside the block, the present ones after it."""
        present = self.snapshot()
        self.load(rows)
        try:
            yield
        finally:
            self.load(present)

    def keep(self, step: int, loss: float) -> None:
        """Make the present rows, those of `step`, the best."""
        self.best_step = step
        self.best_loss = loss
        self.best_rows = self.snapshot()

    def keep_start(self, loss: float) -> None:
        """Take note of the fixed-noise loss of the first rows, which are the present ones."""
        self.progress.begin(loss)
        if loss <= self.best_loss:
            self.keep(0, loss)

    def keep_if_better(self, loss: float) -> bool:
        """Make the present rows the best if their fixed-noise loss is less than that of all before; whether it is."""
        self.progress.measure(self.step, loss)
        is_better = loss < self.best_loss
        if is_better:
            self.keep(self.step, loss)
        return is_better

    def keep_last(self) -> None:
        """Make the present rows the best where nothing was measured to choose them by."""
        if not self.config.validate_every:
            self.keep(self.step, float("nan"))

    def checkpoint(self) -> Checkpoint:
        """A copy of everything that changes."""
        own, values = take_apart(self.optimizer)
        return self.checkpoint_with(own, values)

    def checkpoint_with(self, own: Mapping[str, Tensor], values: Mapping[str, Any]) -> Checkpoint:
        """A checkpoint of the present rows; own, values: what `take_apart` gives of an optimiser."""
        tensors = {f"rows.{slot}": rows for slot, rows in self.snapshot().items()}
        tensors |= {f"best.{slot}": rows for slot, rows in self.best_rows.items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in own.items()}
        info = {"best": [self.best_step, self.best_loss], "progress": asdict(self.progress), "optimizer": values}
        return Checkpoint(self.step, tensors, info)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of a file; raises Unusable, and changes nothing, for one of other rows than these."""
        self.check_fits(checkpoint)
        self.go_to(checkpoint)

    def go_to(self, checkpoint: Checkpoint) -> None:
        """Go back, or on, to a checkpoint of this learner."""
        device = self.parameters[0].device
        own: dict[str, Tensor] = {}
        for name, tensor in checkpoint.tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "rows":
                self.load({rest: tensor})
            elif kind == "best":
                self.best_rows = {**self.best_rows, rest: tensor.to(device, copy=True)}
            else:
                own[rest] = tensor
        put_together(self.optimizer, own, checkpoint.info["optimizer"])
        self.step = checkpoint.step
        best_step, best_loss = checkpoint.info["best"]
        self.best_step = int(best_step)
        self.best_loss = float(best_loss)
        self.progress = Progress(**checkpoint.info["progress"])
        self.good = checkpoint

    def check_fits(self, checkpoint: Checkpoint) -> None:
        """Raises Unusable for a checkpoint that does not have exactly the tensors and values that this learner has."""
        wanted = self.checkpoint_with(*example_state(self.initial.values(), self.build_optimizer, checkpoint.step > 0))
        if not is_like(checkpoint.tensors, wanted.tensors) or not is_like(checkpoint.info, wanted.info):
            raise Unusable("has other tensors or values than this concept and its optimizer")
        learned = [own for name, own in checkpoint.tensors.items() if not name.startswith("optimizer.")]
        if not all(own.isfinite().all() for own in learned):
            raise Unusable("has rows that are no numbers")
