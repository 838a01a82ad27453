"""What one run leaves for people: metrics.jsonl, TensorBoard, events, and pictures."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..method.lengths import length_ratio
from ..method.tokens import fill
from ..reports.plots import plot_losses
from ..reports.previews import PLAIN_PROMPTS, PROMPTS, generate, grid, save_image
from ..runs.folder import RunFolder
from .events import Callback, CheckpointSaved, Event, Measured, PreviewDrawn, StepDone
from .learner import Learner, Reading


class Report:
    """Follows one concept from its first step; it lives in the process that writes the concept's files."""

    def __init__(self, learner: Learner, folder: RunFolder, started: float, callbacks: Sequence[Callback]) -> None:
        """started: by time.perf_counter(), the moment from which the lines count their seconds."""
        self.learner = learner
        self.session = learner.session
        self.folder = folder
        self.started = started
        self.callbacks = callbacks
        self.writer: Any = None

    def open(self) -> list[str]:
        """Begin metrics.jsonl and write the first checkpoint, or cut both back to the step from which the run goes on.

        Returns a line where metrics.jsonl lacks steps.
        """
        step = self.learner.step
        lines = self.folder.metrics.read(step) if step else []
        self.folder.metrics.rewrite(lines)
        self.folder.checkpoints.drop_after(step)
        if self.session.config.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(self.folder.files.tensorboard))
        if step == 0:
            self.save_checkpoint()
        lacking = step - len(lines)
        return [f"{self.folder.files.metrics} lacks {lacking} of {step} steps, which are lost"] if lacking > 0 else []

    def tell(self, event: Event) -> None:
        for callback in self.callbacks:
            callback(event)

    def save_checkpoint(self) -> None:
        """Write the present state."""
        self.folder.metrics.sync()
        file = self.folder.checkpoints.save(self.learner.checkpoint())
        self.tell(CheckpointSaved(self.folder.name, self.learner.step, file))

    def write_steps(self, readings: Sequence[Reading], validation: float | None) -> list[dict[str, Any]]:
        """Write the lines of some steps, and return them; validation: the fixed-noise loss after the last of them."""
        if not readings:
            return []
        losses = torch.stack([reading.loss for reading in readings]).tolist()
        records = [
            {
                "step": reading.step,
                "token": self.session.data.token,
                "loss": loss,
                "lr": reading.lr,
                **self.geometry(reading.after),
                "seconds": round(time.perf_counter() - self.started, 3),
            }
            for reading, loss in zip(readings, losses, strict=True)
        ]
        if validation is not None:
            records[-1]["validation_loss"] = validation
        self.folder.metrics.append(records)
        for record in records:
            if self.writer:
                for name in set(record) - {"step", "token"}:
                    self.writer.add_scalar(f"{name}/{record['token']}", record[name], record["step"])
            self.tell(StepDone(self.folder.name, record["step"], record))
        if validation is not None:
            self.tell(Measured(self.folder.name, readings[-1].step, validation, self.learner.best_step))
        self.draw_preview(len(readings))
        return records

    def geometry(self, rows: Mapping[str, Tensor]) -> dict[str, float]:
        """How long the rows are beside words, and how far they have turned; {slot: (n, D)}."""
        initial = self.learner.initial
        cosines = [F.cosine_similarity(own, initial[slot], dim=1) for slot, own in rows.items()]
        ratio = length_ratio(rows, self.learner.words)
        length, cosine = torch.stack([ratio, torch.cat(cosines).mean()]).tolist()
        return {"length_ratio": length, "cosine_to_init": cosine}

    def draw_preview(self, steps: int) -> None:
        """Draw the present rows where a preview has become due within the last `steps` steps."""
        every = self.session.config.preview_every
        step = self.learner.step
        if not every or self.learner.is_done or step // every == (step - steps) // every:
            return
        file = self.folder.files.preview(step)
        save_image(self.draw([(f"step {step}", self.learner.snapshot())]), file)
        self.tell(PreviewDrawn(self.folder.name, step, file))

    def draw_summary(self) -> None:
        """loss.png, and the picture of before and after."""
        plot_losses(self.folder.metrics.read(), self.folder.files.loss_plot)
        rows = [("before", self.learner.initial), ("after", self.learner.best_rows)]
        save_image(self.draw(rows), self.folder.files.before_after)

    def draw(self, rows: Sequence[tuple[str, Mapping[str, Tensor]]]) -> Image.Image:
        """A grid with a row of pictures for each (title, rows {slot: (n, D)})."""
        config = self.session.config
        concept = config.concept
        prompts = PROMPTS.get(concept.templates, PROMPTS["object"])
        captions = [fill(prompt, concept.token) for prompt in (PLAIN_PROMPTS if concept.negative else prompts)]
        titled = []
        for title, values in rows:
            with self.learner.holding(values):
                images = generate(
                    self.session.family,
                    captions,
                    config.seed,
                    config.preview_steps,
                    config.guidance,
                    self.session.resolution,
                    self.session.data.owner,
                    concept.token if concept.negative else "",
                )
            titled.append((title, images))
        self.session.family.put_away_vae()  # training does without it
        return grid(titled, captions)

    def close(self) -> None:
        if self.writer:
            self.writer.close()
