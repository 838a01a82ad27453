"""All that the page shows and does, without the page."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from ..config.bundled import TINY_SD
from ..config.config import TrainConfig
from ..config.settings import config_from_mapping
from ..errors import BadInput
from ..files.folder_names import name_problem
from ..files.model_places import models_on_this_machine
from ..files.reach import Reach
from ..files.wording import printable
from ..reports.contact_sheet import contact_sheet
from ..reports.dataset_report import report_dataset
from ..training.suggestion import suggest
from .draft import Draft
from .forms import QUALITIES
from .run_queue import Job, RunQueue
from .shelf import Painter, Shelf

PASSES = 4_000  # of a search for words that somebody waits for


@dataclass(frozen=True)
class Look:
    """What training would see of the draft."""

    sheet: Image.Image | None
    problems: Sequence[str]
    notes: Sequence[str]


class Studio:
    """One for the server: whoever looks at the page sees the same draft, the same queue and the same runs."""

    def __init__(self, work: Path, output: Path, roots: Sequence[str] = (), models_dir: str | None = None) -> None:
        """work: for copies of pictures; output: for runs; roots: folders from which the page may read."""
        self.work = work
        self.reach = Reach.within([*roots, work])
        self.models_dir = models_dir
        self.draft = Draft(work / "draft")
        self.shelf = Shelf(output)
        self.painter = Painter(self.shelf)
        self.queue = RunQueue()

    def models(self) -> list[str]:
        """What `model` may be on this machine."""
        return [TINY_SD, *models_on_this_machine(self.models_dir)]

    def config(self, settings: Mapping[str, Any], quality: str = "good", images: Path | None = None) -> TrainConfig:
        """The config of the draft; settings: what the user has set, by name. Raises BadInput."""
        values = {**QUALITIES[quality], **{name: value for name, value in settings.items() if value not in (None, "")}}
        own = {"images": str(images or self.draft.folder), "output": str(self.shelf.output)}
        config = config_from_mapping({**values, **own})
        return replace(config, concept=replace(config.concept, reach=self.reach))

    def look(self, settings: Mapping[str, Any]) -> Look:
        """The report on the draft."""
        if not self.draft.pictures():
            return Look(None, [], [])
        try:
            config = self.config({"token": "<my-thing>", "model": TINY_SD, **settings})
            report, examples = report_dataset(config)
        except BadInput as problem:
            return Look(None, [self.named(str(problem))], [])
        sheet = contact_sheet(report.pictures, examples, config.concept.alpha_color, report.refused)
        problems, notes = ([self.named(line) for line in lines] for lines in (report.problems, report.notes))
        return Look(sheet, problems, [*notes, *map(self.named, report.duplicates)])

    def named(self, text: str) -> str:
        """A line with the pictures' own names in place of those of our copies."""
        text = text.replace(f"{self.draft.folder}/", "")
        for file, name in self.draft.names().items():
            text = text.replace(file, name)
        return text

    def suggest(self, settings: Mapping[str, Any]) -> list[tuple[str, float, float]]:
        """Words for the draft's pictures, the best first, with their losses and how far each falls below the others."""
        found = suggest(self.config({"token": "<my-thing>", **settings}), None, PASSES)
        last = found.steps[-1]
        return [(found.phrase.subject, last.ranking[0].loss, last.ranking[0].fall)] + [
            (each.phrase.text, each.loss, each.fall) for step in reversed(found.steps) for each in step.ranking[:5]
        ]

    def train(self, settings: Mapping[str, Any], quality: str) -> Job:
        """Ask for a run of the draft, whose pictures are copied for it; raises BadInput for all that shows by then."""
        if not self.draft.pictures():
            raise BadInput("there are no pictures yet; drop some, or choose a folder")
        if not settings.get("token"):
            raise BadInput("the new word is missing; write one such as <my-cat>")
        asked = self.config(settings, quality)
        name = asked.run_name
        problem = name_problem(name)
        if problem:
            raise BadInput(f"'{printable(name)}' {problem}; choose another word")
        if name in self.shelf.names() or name in self.queue.latest():
            raise BadInput(f"there is a run called {name} already; choose another word, or delete that run")
        look = self.look(settings)
        if look.problems:
            raise BadInput("\n".join(look.problems))
        images = self.work / "concepts" / name
        shutil.rmtree(images, ignore_errors=True)
        shutil.copytree(self.draft.folder, images)
        self.painter.let_go()
        return self.queue.add(self.config(settings, quality, images))

    def resume(self, name: str) -> Job:
        """Go on with a run that was stopped; raises BadInput where it is at work, or finished."""
        if any(job.name == name for job in self.queue.open_jobs()):
            raise BadInput(f"{name} is at work already")
        if self.shelf.state(name) == "finished":
            raise BadInput(f"{name} is finished; train another word, or delete it first")
        config = self.shelf.config(name)
        concept = replace(config.concept, reach=self.reach)
        self.painter.let_go()
        return self.queue.add(replace(config, concept=concept, resume=True, output=str(self.shelf.output)))

    def delete(self, name: str) -> None:
        """Delete a run; raises BadInput while it is at work."""
        if any(job.name == name for job in self.queue.open_jobs()):
            raise BadInput(f"{name} is at work; stop it first")
        self.shelf.delete(name)
        shutil.rmtree(self.work / "concepts" / name, ignore_errors=True)
        self.queue.forget(name)
