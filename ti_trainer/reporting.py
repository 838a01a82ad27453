"""What a person sees of a run: metrics.jsonl, plots, pictures, and how to use the file."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from .captions import fill
from .config import Concept
from .dataset_report import short_form
from .families import TextSlot
from .learner import Learner, Reading
from .memory import MemoryPlan
from .prepare import Session
from .previews import PROMPTS, generate, grid, save_image
from .run_folder import RunFolder

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


# where each program looks for embeddings, and what is then written in the prompt; {stem}: the file's name
WEBUIS = {
    "A1111, Forge": "copy it into embeddings/ and write {stem} in the prompt",
    "SD.Next": "copy it into models/embeddings/ and write {stem} in the prompt",
    "ComfyUI": "copy it into models/embeddings/ and write embedding:{stem} in the prompt",
    "InvokeAI": "import it in the model manager and write <{stem}> in the prompt",
}


def how_to_use(concept: Concept, folder: RunFolder, slots: Sequence[TextSlot]) -> list[str]:
    """The lines that tell where a concept's file goes, and the exact calls that load it into diffusers."""
    path = folder.place(folder.embedding)
    lines = [f"  {'embedding:':13} {path}"]
    lines += [f"  {program + ':':13} {advice.format(stem=concept.stem)}" for program, advice in WEBUIS.items()]
    calls = [f'pipeline.load_textual_inversion("{path}", token="{concept.trigger}")']
    if len(slots) > 1:  # diffusers reads one encoder's vectors a call
        files = [folder.place(folder.diffusers_embedding(slot.suffix)) for slot in slots]
        calls = [
            f'pipeline.load_textual_inversion("{file}", text_encoder=pipeline.text_encoder{slot.suffix}, '
            f"tokenizer=pipeline.tokenizer{slot.suffix})"
            for file, slot in zip(files, slots, strict=True)
        ]
        calls.append(f'or all at once: ti_trainer.load_into_pipeline(pipeline, "{path}"), which also mends the pooling')
    calls.append(f'pipeline("a photo of a {concept.trigger} on the beach")')
    lines += [f"  {'diffusers:' if number == 0 else '':13} {call}" for number, call in enumerate(calls)]
    return lines


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


def plot_losses(folder: RunFolder) -> None:
    """loss.png: the training loss, smoothed, and the fixed-noise loss of every concept."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    records = folder.read_metrics()
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for token in dict.fromkeys(record["token"] for record in records):
        own = [record for record in records if record["token"] == token]
        left.plot([r["step"] for r in own], [r["loss"] for r in own], linewidth=0.6, label=token)
        measured = [r for r in own if "validation_loss" in r]
        right.plot([r["step"] for r in measured], [r["validation_loss"] for r in measured], marker=".", label=token)
    left.set(title="training loss (noisy: says little)", xlabel="step")
    right.set(title="loss under fixed noise (falls while it learns)", xlabel="step")
    right.legend()
    figure.savefig(folder.loss_plot, dpi=100)
    plt.close(figure)
