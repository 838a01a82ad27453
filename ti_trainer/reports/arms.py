"""What is compared in an evaluation: an embedding, others, the class word, and the checkpoints of a run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from ..config.config import TrainConfig
from ..embedding_files import Embedding, read_embedding, write_embedding
from ..errors import BadInput
from ..families import Family
from ..files.wording import printable
from ..method.placeholders import NOBODY
from ..runs.checkpoints import Checkpoints, Unusable
from ..runs.finished import read_finished
from ..runs.identity import identity


@dataclass(frozen=True)
class Subject:
    """What is evaluated: an embedding and, where it is named by the folder of its run, the run."""

    name: str  # as the user wrote it
    embedding: Embedding
    config: TrainConfig | None = None
    checkpoints: Checkpoints | None = None
    report: Path | None = None  # the page of the run

    def rows_at(self, step: int) -> dict[str, Tensor]:
        """The rows of a checkpoint, {slot: (n, D)}; raises BadInput for one that is not as the run has saved it."""
        assert self.checkpoints is not None
        try:
            tensors = self.checkpoints.load(step).tensors
        except Unusable as problem:
            raise BadInput(f"{printable(self.checkpoints.file(step))} {problem}; delete it") from None
        return {name.removeprefix("rows."): rows for name, rows in tensors.items() if name.startswith("rows.")}


def read_subject(name: str) -> Subject:
    """The embedding in a file, or in the folder of a run that is finished; raises BadInput."""
    folder = Path(name)
    if not folder.is_dir():
        return Subject(name, read_embedding(name))
    config, files = read_finished(folder)
    checkpoints = Checkpoints(files.checkpoints, identity(config))
    return Subject(name, read_embedding(files.embedding), config, checkpoints, files.report)


@dataclass(frozen=True)
class Arm:
    """Whose pictures are measured, all of them from the same prompts and noise."""

    name: str
    word: str  # stands for {token} in prompts
    owner: str  # of the rows with which prompts are read; NOBODY: the model as it is
    step: int | None = None  # of a checkpoint


def class_arm(word: str) -> Arm:
    """The class word, untrained."""
    return Arm(f'"{word}", untrained', word, NOBODY)


def embedding_arm(family: Family, embedding: Embedding, name: str, step: int | None = None) -> Arm:
    """An embedding, whose rows are put into the model under its name; raises BadInput when it does not fit."""
    rows = embedding.fit({slot.name: slot.width for slot in family.slots})
    family.placeholders.add(embedding.token, rows, name)
    return Arm(name, embedding.token, name, step)


def checkpoint_arms(family: Family, subject: Subject) -> list[Arm]:
    """The checkpoints of a run, rising; raises BadInput where there are none."""
    steps = subject.checkpoints.steps() if subject.checkpoints else []
    if not steps:
        raise BadInput(f"{printable(subject.name)} holds no checkpoints; give the folder of a run")
    return [
        embedding_arm(family, replace(subject.embedding, vectors=subject.rows_at(step)), f"step {step}", step)
        for step in steps
    ]


def export_checkpoint(subject: Subject, step: int, reason: str, path: Path) -> None:
    """Write the rows of a checkpoint as its run has written those of its best step; reason: why this one."""
    embedding = subject.embedding
    metadata = {**embedding.metadata, "ti_trainer.step": str(step), "ti_trainer.chosen_by": reason}
    write_embedding(replace(embedding, vectors=subject.rows_at(step), metadata=metadata), path, "webui")
