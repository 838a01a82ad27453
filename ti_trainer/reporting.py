"""What a person sees of a run: the bar, metrics.jsonl, plots, pictures, and how to use the file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from .captions import fill
from .config import Concept
from .data.batches import ConceptData
from .dataset_report import short_form
from .families import TextSlot
from .prepare import Session
from .previews import PROMPTS, generate, grid, save_image
from .run_folder import RunFolder


class Report:
    """Follows a run from its first step; lives in the main process only. initial: the rows before any step."""

    def __init__(
        self,
        session: Session,
        folder: RunFolder,
        first_step: int,
        started: float,
        initial: Mapping[str, Tensor],
        callbacks: Sequence[Callable[[dict[str, Any]], None]],
    ) -> None:
        self.session, self.folder, self.callbacks, self.started = session, folder, callbacks, started
        config = session.config
        folder.rewrite_metrics(folder.read_metrics(first_step) if first_step else [])
        print("\n".join(describe(session)))
        for warning in session.warnings:
            print(f"note: {warning}", file=sys.stderr)
        self.vocabulary_norm = {
            slot.name: slot.table.float().norm(dim=1).mean().item() for slot in session.family.slots
        }
        self.initial = initial
        self.validation: dict[str, float] = {}
        self.writer: Any = None
        if config.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(folder.path / "tensorboard"))
        self.bar = tqdm(total=config.steps, initial=first_step, desc=", ".join(c.token for c in config.concepts))
        self.first = True

    def step(self, step: int, losses: Tensor, lr: float, validation: Mapping[str, float]) -> None:
        """Write the lines of one step; losses (concepts,)."""
        if self.first:
            self.bar.write(f"first step after {time.perf_counter() - self.started:.1f} s")
            self.first = False
        records = [
            self.record(step, data, loss, lr, validation)
            for data, loss in zip(self.session.data, losses.tolist(), strict=True)
        ]
        self.folder.append_metrics(records)
        self.validation = {**self.validation, **validation}
        shown = {"loss": f"{losses.mean().item():.4f}"}
        if self.validation:
            shown["validation"] = f"{sum(self.validation.values()) / len(self.validation):.5f}"
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update()
        for record in records:
            if self.writer:
                for name in set(record) - {"step", "token"}:
                    self.writer.add_scalar(f"{name}/{record['token']}", record[name], record["step"])
            for callback in self.callbacks:
                callback(record)
        every = self.session.config.preview_every
        if every and step % every == 0 and step < self.session.config.steps:
            rows = [(f"step {step}", concept, None) for concept in self.session.config.concepts]
            save_image(self.draw(rows), self.folder.preview(step))

    def record(
        self, step: int, data: ConceptData, loss: float, lr: float, validation: Mapping[str, float]
    ) -> dict[str, Any]:
        placeholders = self.session.placeholders
        spans = placeholders.spans[data.token]
        rows = {slot: placeholders.rows[slot].detach()[span] for slot, span in spans.items()}
        cosines = [F.cosine_similarity(rows[slot], self.initial[slot][span], dim=1) for slot, span in spans.items()]
        ratios = [rows[slot].norm(dim=1) / self.vocabulary_norm[slot] for slot in spans]
        record = {
            "step": step,
            "token": data.token,
            "loss": loss,
            "lr": lr,
            "norm_ratio": torch.cat(ratios).mean().item(),
            "cosine_to_init": torch.cat(cosines).mean().item(),
            "seconds": round(time.perf_counter() - self.started, 3),
        }
        if data.token in validation:
            record["validation_loss"] = validation[data.token]
        return record

    def draw(self, rows: Sequence[tuple[str, Concept, Mapping[str, Tensor] | None]]) -> Any:
        """A grid with a row of pictures for each (title, concept, rows to use instead of the present ones)."""
        config, family, placeholders = self.session.config, self.session.family, self.session.placeholders
        titled, captions = [], list(PROMPTS["object"])
        for title, concept, values in rows:
            prompts = PROMPTS.get(concept.templates, PROMPTS["object"])
            captions = [fill(prompt, concept.token) for prompt in prompts]
            with placeholders.holding(values or placeholders.snapshot()):
                images = generate(
                    family, captions, config.seed, config.preview_steps, config.guidance, self.session.resolution
                )
            titled.append((title, images))
        shared = len(config.concepts) == 1
        family.put_away_vae()
        return grid(titled, captions if shared else [c.replace(config.concepts[-1].token, "...") for c in captions])

    def close(self) -> None:
        self.bar.close()
        if self.writer:
            self.writer.close()

    def finish(self, best: Mapping[str, Tensor], steps: Mapping[str, int]) -> None:
        """Plots, the picture of before and after, and the lines that load the file."""
        config, folder = self.session.config, self.folder
        plot_losses(folder)
        rows = []
        for concept in config.concepts:
            name = f"{concept.stem} " if len(config.concepts) > 1 else ""
            rows += [(f"{name}before", concept, self.initial), (f"{name}after", concept, best)]
        save_image(self.draw(rows), folder.before_after)
        print(f"\nlearned in {time.perf_counter() - self.started:.0f} s; everything is in {folder.path}")
        print(f"before and after:  {folder.before_after}")
        for concept in config.concepts:
            print(f"\n{concept.trigger}  (rows of step {steps[concept.token]})")
            print("\n".join(how_to_use(concept, folder, self.session.family.slots)))


# where each program looks for embeddings, and what is then written in the prompt; {stem}: the file's name
WEBUIS = {
    "A1111, Forge": "copy it into embeddings/ and write {stem} in the prompt",
    "SD.Next": "copy it into models/embeddings/ and write {stem} in the prompt",
    "ComfyUI": "copy it into models/embeddings/ and write embedding:{stem} in the prompt",
    "InvokeAI": "import it in the model manager and write <{stem}> in the prompt",
}


def how_to_use(concept: Concept, folder: RunFolder, slots: Sequence[TextSlot]) -> list[str]:
    """The lines that tell where a concept's file goes, and the exact calls that load it into diffusers."""
    path = folder.embedding(concept)
    lines = [f"  {'embedding:':13} {path}"]
    lines += [f"  {program + ':':13} {advice.format(stem=concept.stem)}" for program, advice in WEBUIS.items()]
    calls = [f'pipeline.load_textual_inversion("{path}", token="{concept.trigger}")']
    if len(slots) > 1:  # diffusers reads one encoder's vectors a call
        files = [folder.diffusers_embedding(concept, slot.suffix) for slot in slots]
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
    """What is about to happen, a line for the model and one for each concept."""
    config, family = session.config, session.family
    where = f"{family.device} {str(family.dtype).removeprefix('torch.')}"
    lines = [f"{config.model} at {session.resolution} px on {where}: {config.steps} steps of {config.batch_size}"]
    for concept, data in zip(config.concepts, session.data, strict=True):
        span = next(iter(session.placeholders.spans[concept.token].values()))
        vectors = f"{span.stop - span.start} vector{'s' * (span.stop - span.start > 1)}"
        pictures = f"{short_form(data.examples)} from {concept.images}"
        start = "its own rows" if concept.tune else f"init {concept.init}"
        lines.append(f"{concept.token}: {vectors} ({start}), {pictures}")
    return lines


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
