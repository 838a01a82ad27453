"""The pictures of a run: what its rows draw at some of its steps, each as a file, and all of them on one sheet."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..files.wording import flag
from ..reports.grids import grid, in_square, save_image
from ..reports.references import show_references
from ..runs.folder import RunFolder
from .console import Console
from .learner import Learner

SHARE = 0.1  # of a job's time, that drawing on the way may take
BESIDE = 384  # pixels, of the picture for WebUIs
SIDE = 384  # pixels, of pictures that are kept in memory
REFERENCES = 12  # that are shown at most

Row = tuple[str, list[Image.Image | None]]


class Budget:
    """How long a job may draw on the way; what its first and last rows draw is asked for in any case."""

    def __init__(self, started: float) -> None:
        """started: by time.perf_counter(), when the job was asked for."""
        self.started = started
        self.spent = 0.0  # seconds, on the way
        self.seconds_of_work: float | None = None  # for each denoising step of a picture, of what was drawn last

    def allows(self, work: int) -> bool:
        """Whether so many denoising steps fit in; nobody knows before something has been drawn."""
        if self.seconds_of_work is None:
            return False
        seconds = self.seconds_of_work * work
        return self.spent + seconds <= SHARE * (time.perf_counter() - self.started + seconds)

    def note(self, seconds: float, work: int, on_the_way: bool) -> None:
        """Take note of what was drawn."""
        self.seconds_of_work = seconds / work
        self.spent += seconds if on_the_way else 0.0


class Gallery:
    """Draws the rows of a concept, and puts the pictures together."""

    def __init__(self, learner: Learner, folder: RunFolder, budget: Budget, console: Console) -> None:
        self.learner = learner
        self.session = learner.session
        self.drawing = learner.session.drawing
        self.files = folder.files
        self.budget = budget
        self.console = console
        self.shown: dict[int, list[Image.Image]] = {}  # by step, up to SIDE pixels: a picture for each column
        self.fits = True  # whether there was memory enough to draw

    def reopen(self) -> None:
        """Take the pictures of a run that goes on, as far as they were drawn as this one draws."""
        for step in self.files.preview_steps():
            self.take_files(step)
        if self.shown:
            self.save_sheet()
        else:
            self.files.previews.unlink(missing_ok=True)

    def draw_on_the_way(self) -> list[Path]:
        """Draw the present rows, where that is due and there is time; returns the files."""
        config = self.learner.config
        may = config.preview_every is not None or self.budget.allows(self.drawing.work)
        if not (self.fits and may and self.learner.is_previewed_now):
            return []
        return self.draw(self.learner.step, self.learner.snapshot(), on_the_way=True)

    def draw_start(self) -> list[Path]:
        """Draw the first rows, where they are drawn in any case: then there is something to look at from the first."""
        config = self.learner.config
        wanted = config.plots and config.preview_every != 0
        return self.draw(0, self.learner.initial, on_the_way=False) if wanted else []

    def draw_ends(self) -> Image.Image | None:
        """Draw the first rows and the saved ones, and put them under the concept's own pictures: before_after.png.

        Returns the first picture of the saved rows; None where there was too little memory to draw.
        """
        best = self.learner.best_step
        self.draw(0, self.learner.initial, on_the_way=False)
        self.draw(best, self.learner.best_rows, on_the_way=False)
        if not {0, best} <= self.shown.keys():
            return None
        self.save_sheet(best)
        count = len(self.drawing.columns)
        rows: list[Row] = [("your\npictures", [*self.references, *[None] * count][:count])]
        rows += [(f"{name}\nstep {step}", [*self.shown[step]]) for name, step in (("before", 0), ("after", best))]
        save_image(grid(rows, self.drawing.columns, header=self.header), self.files.before_after)
        save_image(in_square(self.shown[best][0], BESIDE), self.files.thumbnail)
        return self.shown[best][0]

    def draw(self, step: int, rows: Mapping[str, Tensor], on_the_way: bool) -> list[Path]:
        """Draw the rows of a step, {slot: (n, D)}, unless that has been done; returns the files of new pictures."""
        if not self.fits or step in self.shown or self.take_files(step):
            return []
        family = self.session.family
        drawing = self.drawing
        started = time.perf_counter()
        try:
            with (
                self.learner.holding(rows),
                self.console.drawing(f"drawing {self.session.data.token} at step {step}", drawing.work) as progress,
            ):
                images = drawing.pictures(family, self.session.data.owner, progress)
        except torch.OutOfMemoryError:
            self.fits = False
            self.console.note(
                f"{self.session.data.token}: there is too little memory to draw previews of "
                f"{drawing.size[0]} x {drawing.size[1]} pixels beside the training: take a smaller "
                f"{flag('preview_width')} and {flag('preview_height')}, or {flag('plots', False)}"
            )
            return []
        finally:
            family.put_away_vae()  # training does without it
        files = [self.files.preview(step, column) for column in range(1, len(images) + 1)]
        for number, (image, file) in enumerate(zip(images, files, strict=True)):
            save_image(image, file, self.told(step, number))
        self.shown[step] = list(map(thumbnail, images))
        self.save_sheet()
        self.budget.note(time.perf_counter() - started, drawing.work, on_the_way)
        return files

    def told(self, step: int, column: int) -> dict[str, str]:
        return {"step": str(step), **self.drawing.told(column)}

    def take_files(self, step: int) -> bool:
        """Take the pictures of a step from their files, where all are there and were drawn as this run draws."""
        found = []
        for number in range(len(self.drawing.columns)):
            try:
                with Image.open(self.files.preview(step, number + 1), formats=["PNG"]) as image:
                    image.load()
            except (OSError, ValueError, SyntaxError):  # Pillow calls a broken PNG that
                return False
            told = self.told(step, number)
            if image.size != self.drawing.size or {name: image.info.get(name) for name in told} != told:
                return False
            found.append(thumbnail(image))
        self.shown[step] = found
        return True

    def save_sheet(self, best: int | None = None) -> None:
        """Write previews.png: a row for each step, the concept's own pictures beside; best: the step that was saved."""
        steps = sorted(self.shown)
        references = [*self.references, *[None] * len(steps)]
        rows: list[Row] = [
            (f"step {step}" + ("\nsaved" if step == best else ""), [reference, *self.shown[step]])
            for step, reference in zip(steps, references, strict=False)
        ]
        save_image(grid(rows, ["your pictures", *self.drawing.columns], header=self.header), self.files.previews)

    @property
    def header(self) -> str:
        config = self.learner.config
        return f"{config.concept.trigger} on {Path(config.model).name or config.model}"

    @cached_property
    def references(self) -> list[Image.Image]:
        """The concept's own pictures, as squares."""
        config = self.learner.config
        return show_references(self.session.data.examples, config.concept.alpha_color, SIDE, REFERENCES)


def thumbnail(image: Image.Image) -> Image.Image:
    """A picture of up to SIDE pixels; smaller ones are left as they are."""
    image = image.convert("RGB")
    return image if max(image.size) <= SIDE else ImageOps.contain(image, (SIDE, SIDE), Image.Resampling.LANCZOS)
