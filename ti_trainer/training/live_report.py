"""report.html of a run while it goes on: what it knows by now, written again when there is something new."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from ..config.config import TrainConfig
from ..config.settings import settings_of_run
from ..data.images import decode, on_ground
from ..errors import BadInput
from ..files.atomic import write_bytes
from ..files.wording import escaped
from ..method.lengths import length_ratio, turned
from ..method.nearest import nearest_words
from ..method.tokens import fill
from ..reports.curves import curves_of
from ..reports.dataset_report import short_form
from ..reports.inline_pictures import data_uri
from ..reports.run_report import NearWords, PreviewRow, Reference, RunReport, render_run
from ..reports.texts import ways_to_use
from ..runs.folder import RunFolder
from .gallery import SIDE, Gallery
from .learner import Learner
from .memory.machine import peak_bytes
from .memory.plan import MemoryPlan
from .pace import Pace

NEAREST = 6  # words of each row
REFERENCES = 24  # pictures that the page shows
SMALL = 256  # pixels, of these
PAUSE = 2.0  # seconds between two pages at least,
SHARE = 0.03  # and of the time that writing them may take


class LiveReport:
    """Writes a concept's page."""

    def __init__(self, learner: Learner, folder: RunFolder, gallery: Gallery, plan: MemoryPlan, started: float) -> None:
        """started: by time.perf_counter(), when the job was asked for."""
        self.learner = learner
        self.session = learner.session
        self.folder = folder
        self.gallery = gallery
        self.plan = plan
        self.started = started
        self.uris: dict[int, list[str]] = {}
        self.pace = Pace(PAUSE, SHARE)

    def write_now_and_then(self) -> None:
        """Write the page of a run that goes on, where the last one is old enough."""
        if self.pace.is_due:
            self.write("learning")

    def write(self, state: str) -> None:
        """Write the page; state: as in RunReport."""
        if not self.session.config.plots:
            return
        with self.pace.doing():
            write_bytes(render_run(self.facts(state)).encode(), self.folder.files.report)

    def facts(self, state: str) -> RunReport:
        learner = self.learner
        config = learner.config
        is_over = state == "finished"
        rows = learner.best_rows if is_over else learner.snapshot()
        curves = curves_of(self.folder.metrics.read(), learner.progress.first, learner.best_step if is_over else None)
        return RunReport(
            token=config.concept.trigger,
            model=config.model,
            state=state,
            step=learner.step,
            steps=config.steps,
            best_step=learner.best_step,
            summary=short_form(self.session.data.examples),
            references=self.references,
            columns=self.gallery.drawing.columns,
            previews=[
                PreviewRow(step, is_over and step == learner.best_step, self.uris_of(step))
                for step in sorted(self.gallery.shown)
            ],
            curves=curves,
            near=self.near(rows),
            notes=self.session.warnings,
            settings=changed_settings(config),
            figures=self.figures(rows),
            uses=ways_to_use(config.concept, self.folder, self.session.family),
        )

    def uris_of(self, step: int) -> list[str]:
        """The pictures of a step as text; they are the same in every page."""
        if step not in self.uris:
            self.uris[step] = [data_uri(each, SIDE) for each in self.gallery.shown[step]]
        return self.uris[step]

    @cached_property
    def references(self) -> list[Reference]:
        """The pictures that it learns from, as far as they can still be read."""
        data = self.session.data
        unit = self.session.family.pixels_per_latent
        found = []
        for example, views in list(zip(data.examples, data.views, strict=True))[:REFERENCES]:
            with suppress(BadInput, OSError):
                image = on_ground(decode(example.picture, SMALL).image, self.learner.config.concept.alpha_color)
                _, height, width = views[0].shape
                about = [f"{example.size[0]} x {example.size[1]}", f"shown at {width * unit} x {height * unit}"]
                about += ["of the class"] * example.is_class + ["with a mask"] * (example.mask is not None)
                captions = [escaped(fill(caption, data.token)) for caption in example.captions]
                found.append(
                    Reference(Path(example.picture.name).name, data_uri(image, SMALL), ", ".join(about), captions)
                )
        return found

    def near(self, rows: Mapping[str, Tensor]) -> list[NearWords]:
        """The nearest words of each row {slot: (n, D)}."""
        slots = self.session.family.slots
        return [
            NearWords(f"row {number}" + (f" of {slot.name}" if len(slots) > 1 else ""), words)
            for slot in slots
            for number, words in enumerate(nearest_words(rows[slot.name], slot, NEAREST), start=1)
        ]

    def figures(self, rows: Mapping[str, Tensor]) -> list[tuple[str, str]]:
        """Time, memory and geometry, each with its name; rows: {slot: (n, D)}."""
        learner = self.learner
        peak = peak_bytes(self.session.family.device)
        seconds = time.perf_counter() - self.started
        angle = turned(rows, learner.initial).mean().item()
        found = [
            (
                "time",
                f"{seconds:.0f} s, of which {self.gallery.budget.spent:.0f} s went into previews on the way",
            ),
            ("pictures at once", f"{self.plan.micro_batch}" + ", activations twice" * self.plan.gradient_checkpointing),
            (
                "memory",
                f"{peak / 2**30:.1f} GiB at most, of which the model and its batch {self.plan.peak / 2**30:.1f}",
            ),
            ("length of the rows", f"{length_ratio(rows, learner.words).item():.2f} times a word's"),
            ("angle", f"{angle:.0f} degrees from the start"),
            ("starts from", learner.config.concept.init),
        ]
        return [(name, value) for name, value in found if name != "memory" or peak]


def changed_settings(config: TrainConfig) -> list[tuple[str, str, str]]:
    """Name, value and default of the settings that are not the default."""
    values: dict[str, Any] = {**vars(config.concept), **vars(config)}
    return [
        (name, in_words(values[name]), "" if one.default is MISSING else in_words(one.default))
        for name, one in settings_of_run(type(config)).items()
        if values[name] != one.default and not one.about.start
    ]


def in_words(value: Any) -> str:
    """The value of a setting, as YAML has it."""
    if isinstance(value, tuple):
        return "; ".join(value) or "none"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else escaped(str(value))
