"""What trackers hear of one run: TensorBoard, Weights & Biases, Trackio, each through accelerate's class for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.tracking import GeneralTracker, TensorBoardTracker, TrackioTracker, WandBTracker
from PIL import Image

from ..config.settings import config_to_mapping
from ..errors import BadInput
from ..files.wording import flag, reason
from ..runs.folder import RunFolder

PROJECT = "ti_trainer"  # in which trackers that have projects keep runs
UNTOLD = ("step", "token")  # of a line of metrics.jsonl: they say where its values belong


def tensorboard(folder: RunFolder, step: int) -> GeneralTracker:
    """Event files in RUN/tensorboard; what an earlier try has told of later steps is taken back."""
    place = folder.files.tensorboard
    return TensorBoardTracker(place.name, place.parent, purge_step=step + 1 if step else None)


def wandb(folder: RunFolder, step: int) -> GeneralTracker:
    """A run of its own beside those of the other concepts; what is not sent yet lies in RUN/wandb."""
    about = {"name": folder.name, "dir": folder.path, "config": config_to_mapping(folder.config)}
    return WandBTracker(PROJECT, reinit="create_new", **about)


def trackio(folder: RunFolder, step: int) -> GeneralTracker:
    """A run in Trackio's own folder (TRACKIO_DIR), without its page in the midst of a notebook."""
    return TrackioTracker(PROJECT, name=folder.name, config=config_to_mapping(folder.config), embed=False)


def show_tensorboard(tracker: GeneralTracker, name: str, image: Image.Image, caption: str, step: int) -> None:
    tracker.log_images({name: np.asarray(image)[None]}, step, dataformats="NHWC")


def show_wandb(tracker: GeneralTracker, name: str, image: Image.Image, caption: str, step: int) -> None:
    import wandb

    tracker.log({name: wandb.Image(image, caption=caption), "step": step})


def show_trackio(tracker: GeneralTracker, name: str, image: Image.Image, caption: str, step: int) -> None:
    import trackio

    tracker.log({name: trackio.Image(image, caption=caption)}, step)


def log_by_step(tracker: GeneralTracker, values: Mapping[str, float], step: int) -> None:
    tracker.log(dict(values), step)


def log_with_step(tracker: GeneralTracker, values: Mapping[str, float], step: int) -> None:
    """The step is a value: wandb's own count only rises, and the pictures of step 0 come after step 1."""
    tracker.log({**values, "step": step})


Open = Callable[[RunFolder, int], GeneralTracker]
Log = Callable[[GeneralTracker, Mapping[str, float], int], None]
Show = Callable[[GeneralTracker, str, Image.Image, str, int], None]

CALLS: dict[str, tuple[Open, Log, Show]] = {
    "tensorboard": (tensorboard, log_by_step, show_tensorboard),
    "wandb": (wandb, log_with_step, show_wandb),
    "trackio": (trackio, log_by_step, show_trackio),
}


class Trackers:
    """Those that `report_to` names, from the first step of a run to its last, or from where it goes on."""

    def __init__(self, folder: RunFolder, step: int) -> None:
        """Raises BadInput where one of them does not want to, for example because nobody is logged in."""
        self.opened: list[tuple[GeneralTracker, Log, Show]] = []
        for name in folder.config.report_to:
            open_tracker, log, show = CALLS[name]
            tracker = open_tracker(folder, step)
            tracker.main_process_only = False  # of several processes each may have concepts of its own
            try:
                tracker.start()
            except Exception as problem:  # of whatever kind its package has
                self.close()
                raise BadInput(f"{flag('report_to', name)} cannot begin: {reason(problem)}") from problem
            self.opened.append((tracker, log, show))

    def log(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Lines of metrics.jsonl."""
        for record in records:
            values = {name: value for name, value in record.items() if name not in UNTOLD}
            for tracker, log, _ in self.opened:
                log(tracker, values, record["step"])

    def show(self, asked_for: Sequence[str], files: Sequence[Path], step: int) -> None:
        """The pictures of a step, and what was asked for in each."""
        for number, (asked, file) in enumerate(zip(asked_for, files, strict=True), start=1):
            with Image.open(file) as image:
                image.load()
            for tracker, _, show in self.opened:
                show(tracker, f"preview_{number}", image, asked, step)

    def close(self) -> None:
        """End what was begun."""
        for tracker, _, _ in self.opened:
            tracker.finish()
        self.opened = []
