"""What a person sees of a run: metrics.jsonl, plots, pictures, and how to use the file."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..method.tokens import fill
from ..reports.dataset_report import short_form
from ..reports.plots import plot_losses
from ..reports.previews import PROMPTS, generate, grid, save_image
from ..runs.folder import RunFolder
from .learner import Learner, Reading
from .memory.plan import MemoryPlan
from .prepare import Session

Callback = Callable[[dict[str, Any]], None]  # gets each line of metrics.jsonl


class Report:
    """Follows one concept from its first step; it lives in the process that writes the concept's files."""

    def __init__(
        self,
        learner: Learner,
        folder: RunFolder,
        started: float,
        vocabulary_norms: Mapping[str, float],
        callbacks: Sequence[Callback],
    ) -> None:
        """vocabulary_norms: the mean length of a word's embedding, by slot."""
        self.learner, self.folder, self.started, self.callbacks = learner, folder, started, callbacks
        self.session, self.vocabulary_norms = learner.session, vocabulary_norms
        folder.rewrite_metrics(folder.read_metrics(learner.step) if learner.step else [])
        self.writer: Any = None
        if self.session.config.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(folder.path / "tensorboard"))

    def steps(self, readings: Sequence[Reading], validation: float | None) -> list[dict[str, Any]]:
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
        self.folder.append_metrics(records)
        for record in records:
            if self.writer:
                for name in set(record) - {"step", "token"}:
                    self.writer.add_scalar(f"{name}/{record['token']}", record[name], record["step"])
            for callback in self.callbacks:
                callback(record)
        every, step = self.session.config.preview_every, self.learner.step
        if every and step // every > (step - len(readings)) // every and not self.learner.is_done:
            save_image(self.draw([(f"step {step}", self.learner.snapshot())]), self.folder.preview(step))
        return records

    def geometry(self, rows: Mapping[str, Tensor]) -> dict[str, float]:
        """How long the rows are, and how far they have turned; {slot: (n, D)}."""
        initial = self.learner.initial
        cosines = [F.cosine_similarity(own, initial[slot], dim=1) for slot, own in rows.items()]
        ratios = [own.norm(dim=1) / self.vocabulary_norms[slot] for slot, own in rows.items()]
        norm, cosine = torch.stack([torch.cat(ratios).mean(), torch.cat(cosines).mean()]).tolist()
        return {"norm_ratio": norm, "cosine_to_init": cosine}

    def draw(self, rows: Sequence[tuple[str, Mapping[str, Tensor]]]) -> Image.Image:
        """A grid with a row of pictures for each (title, rows {slot: (n, D)})."""
        config, session = self.session.config, self.session
        prompts = PROMPTS.get(config.concept.templates, PROMPTS["object"])
        captions, titled = [fill(prompt, config.concept.token) for prompt in prompts], []
        for title, values in rows:
            with self.learner.holding(values):
                images = generate(
                    *(session.family, captions, config.seed, config.preview_steps, config.guidance),
                    session.resolution,
                    session.data.owner,
                )
            titled.append((title, images))
        session.family.put_away_vae()  # training does without it
        return grid(titled, captions)

    def close(self) -> None:
        if self.writer:
            self.writer.close()

    def draw_summary(self) -> None:
        """loss.png, and the picture of before and after."""
        plot_losses(self.folder)
        rows = [("before", self.learner.initial), ("after", self.learner.best_rows)]
        save_image(self.draw(rows), self.folder.before_after)


def describe(session: Session) -> list[str]:
    """What is about to happen, a line for the model and one for the concept."""
    config, concept, family = session.config, session.config.concept, session.family
    where = f"{family.device} {str(family.dtype).removeprefix('torch.')}"
    count = session.num_vectors
    start = "its own rows" if concept.tune else f"init {concept.init}"
    return [
        f"{config.model} at {session.resolution} px on {where}: {config.steps} steps of {config.batch_size}",
        f"{concept.token}: {count} vector{'s' * (count > 1)} ({start}), {short_form(session.data.examples)} "
        f"from {concept.images}",
    ]


def describe_plan(plan: MemoryPlan) -> str:
    """How much memory that takes."""
    how = " with gradient checkpointing" if plan.gradient_checkpointing else ""
    return f"at most {plan.micro_batch} pictures at once{how}, about {plan.peak / 2**30:.1f} GiB of memory"
