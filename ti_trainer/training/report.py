"""What one run leaves for people: metrics.jsonl, what trackers show, events, and pictures."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..files.atomic import write_bytes
from ..method.lengths import length_ratio
from ..reports.curves import curves_of
from ..reports.grids import in_square
from ..reports.inline_pictures import jpeg_uri
from ..reports.model_card import model_card
from ..reports.plots import plot_run
from ..runs.checkpoints import Checkpoint
from ..runs.folder import RunFolder
from .console import Console
from .events import Callback, CheckpointSaved, Event, Measured, PreviewDrawn, StepDone
from .export import describe_session, export_step
from .gallery import Budget, Gallery
from .learner import Learner, Reading
from .live_report import LiveReport
from .memory.plan import MemoryPlan
from .trackers import Trackers

THUMBNAIL = 256  # pixels: ModelSpec's


class Report:
    """Follows one concept from its first step; it lives in the process that writes the concept's files."""

    def __init__(
        self,
        learner: Learner,
        folder: RunFolder,
        started: float,
        callbacks: Sequence[Callback],
        budget: Budget,
        console: Console,
        plan: MemoryPlan,
    ) -> None:
        """started: by time.perf_counter(), the moment from which the lines count their seconds."""
        self.learner = learner
        self.session = learner.session
        self.folder = folder
        self.started = started
        self.callbacks = callbacks
        self.gallery = Gallery(learner, folder, budget, console)
        self.page = LiveReport(learner, folder, self.gallery, plan, started)
        self.trackers: Trackers | None = None  # from `open` on

    def open(self) -> list[str]:
        """Begin metrics.jsonl and write the first checkpoint, or cut all back to the step from which the run goes on.

        Returns a line where metrics.jsonl lacks steps.
        """
        step = self.learner.step
        lines = self.folder.metrics.read(step) if step else []
        self.folder.metrics.rewrite(lines)
        self.folder.drop_after(step)
        self.gallery.reopen()
        self.trackers = Trackers(self.folder, step)
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
        file = self.write_checkpoint(self.learner.checkpoint())
        self.tell(CheckpointSaved(self.folder.name, self.learner.step, file))

    def write_checkpoint(self, checkpoint: Checkpoint) -> Path:
        """Write a state, which says of its rows what an embedding file would; returns the file."""
        return self.folder.checkpoints.save(checkpoint, {**self.origin, "ti_trainer.step": str(checkpoint.step)})

    @cached_property
    def origin(self) -> dict[str, str]:
        """What is told of the rows of any step."""
        return describe_session(self.session, self.session.config.concept.trigger, 0)

    def write_steps(self, readings: Sequence[Reading], validation: float | None) -> list[dict[str, Any]]:
        """Write the lines of some steps, and return them; validation: the fixed-noise loss after the last of them.

        The present rows become an embedding file where that is due.
        """
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
        if self.learner.is_exported_now:
            export_step(self.session, self.folder, self.learner.snapshot(), self.learner.step)
        if self.trackers:
            self.trackers.log(records)
        for record in records:
            self.tell(StepDone(self.folder.name, record["step"], record))
        if validation is not None:
            self.tell(Measured(self.folder.name, readings[-1].step, validation, self.learner.best_step))
        return records

    def geometry(self, rows: Mapping[str, Tensor]) -> dict[str, float]:
        """How long the rows are beside words, and how far they have turned; {slot: (n, D)}."""
        initial = self.learner.initial
        cosines = [F.cosine_similarity(own, initial[slot], dim=1) for slot, own in rows.items()]
        ratio = length_ratio(rows, self.learner.words)
        length, cosine = torch.stack([ratio, torch.cat(cosines).mean()]).tolist()
        return {"length_ratio": length, "cosine_to_init": cosine}

    def draw_previews(self, is_new: bool) -> None:
        """Draw what is due now, and write the page now and then; is_new: the first step is just behind it."""
        for step, files in (
            (0, self.gallery.draw_start() if is_new else []),
            (self.learner.step, self.gallery.draw_on_the_way()),
        ):
            if files and self.trackers:
                self.trackers.show(self.gallery.drawing.columns, files, step)
            if files:
                self.tell(PreviewDrawn(self.folder.name, step, self.folder.files.previews, tuple(files)))
        self.page.write_now_and_then()

    def draw_summary(self) -> str | None:
        """Write loss.png, previews.png, the picture of before and after, and the last page.

        Returns what the saved rows draw, as a data URI; None where there was too little memory to draw.
        """
        learner = self.learner
        curves = curves_of(self.folder.metrics.read(), learner.progress.first, learner.best_step)
        plot_run(curves, self.gallery.header, self.folder.files.loss_plot)
        drawn = self.gallery.draw_ends()
        self.page.write("finished")
        write_bytes(self.card().encode(), self.folder.files.card)
        return jpeg_uri(in_square(drawn, THUMBNAIL)) if drawn else None

    def card(self) -> str:
        """README.md: what the hub shows of the run."""
        session = self.session
        files = self.folder.files
        best = self.learner.best_step
        pictures = [files.preview(best, column) for column in range(1, len(session.drawing.columns) + 1)]
        drawn = zip(session.drawing.columns, pictures, strict=True)
        loaded = session.family.slots if session.family.loads_embeddings else ()
        return model_card(
            session.config,
            session.family.spec.architecture,
            {slot.name: slot.width for slot in session.family.slots},
            session.num_vectors,
            best,
            {prompt: self.folder.relative(file) for prompt, file in drawn if file.exists()},
            [self.folder.relative(files.diffusers_embedding(slot.suffix)) for slot in loaded],
        )

    def close(self) -> None:
        if self.trackers:
            self.trackers.close()
