"""The runs of an output folder, and what can be done with one."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..config.config import TrainConfig
from ..config.fields import settings_of
from ..config.model import ModelConfig
from ..config.settings import config_from_mapping, read_yaml
from ..embedding_files import FORMATS, read_embedding
from ..embedding_files.conversion import conversion_text, convert
from ..embedding_files.embedding import Embedding
from ..embedding_files.readers import where_it_goes
from ..errors import BadInput
from ..families import Family, load_with_embeddings
from ..files.folder_names import name_problem
from ..files.wording import printable
from ..method.tokens import fill
from ..reports.evaluation import evaluate_file
from ..reports.evaluation_report import report_text, write_report
from ..reports.previews import checked_size, generate, with_tokens
from ..runs.files import RunFiles
from ..runs.finished import read_finished
from ..runs.hub import publish
from ..runs.lock import RunLock
from ..runs.storage import Storage

MOST_DRAWN = 64  # pictures at a click


@dataclass(frozen=True)
class Shelf:
    """A folder of this machine with runs in it."""

    output: Path

    @property
    def formats(self) -> list[str]:
        """What an embedding can be written as."""
        return [name for name, row in FORMATS.items() if row.pack]

    def names(self) -> list[str]:
        """The runs, by the names of their folders; the latest first."""
        if not self.output.is_dir():
            return []
        configs = [place / "config.yaml" for place in self.output.iterdir() if not name_problem(place.name)]
        found = sorted((file for file in configs if file.is_file()), key=lambda file: -file.stat().st_mtime)
        return [file.parent.name for file in found]

    def folder(self, name: str) -> Path:
        """The folder of a run; raises BadInput where there is none of that name."""
        if name_problem(name or "") or name not in self.names():
            raise BadInput(f"there is no run '{printable(name or '')}'; choose one of the list")
        return self.output / name

    def config(self, name: str) -> TrainConfig:
        """The settings of a run."""
        return config_from_mapping(read_yaml(str(self.folder(name) / "config.yaml")))

    def files(self, name: str) -> RunFiles:
        return RunFiles(self.folder(name), self.config(name).concept.stem)

    def state(self, name: str) -> str:
        """Whether a run is finished, can go on, or never came to anything."""
        if Storage(str(self.output)).entry(name):
            return "finished"
        return "can go on" if any(self.files(name).checkpoints.glob("step-*.safetensors")) else "not begun"

    def finished(self) -> list[str]:
        """The runs that have an embedding; a damaged one hides no other."""
        found = []
        for name in self.names():
            with suppress(BadInput):
                found += [name] if self.files(name).embedding.exists() else []
        return found

    def delete(self, name: str) -> None:
        """Delete a run and its line in the manifest; raises BadInput while somebody trains it."""
        folder = self.folder(name)
        lock = RunLock(RunFiles(folder, name).lock)
        if not lock.acquire():
            raise BadInput(f"{name} is being trained by {lock.holder}; stop it first")
        try:
            Storage(str(self.output)).withdraw(name)
            shutil.rmtree(folder)
        finally:
            lock.release()

    def where_it_goes(self, name: str) -> list[tuple[str, str]]:
        """For each program what to do with the embedding file."""
        concept = self.config(name).concept
        embedding = read_embedding(self.files(name).embedding)
        return where_it_goes(embedding.widths, embedding.architecture, concept.stem, concept.negative)

    def convert(self, name: str, to: str, folder: Path) -> tuple[list[Path], str]:
        """Files of a run's embedding in a format, and lines about them; folder: where they are written."""
        config, files = read_finished(self.folder(name))
        folder.mkdir(parents=True, exist_ok=True)
        done = convert(str(files.embedding), to, output=str(folder), token=config.concept.trigger, overwrite=True)
        return done.files, conversion_text(done)

    def evaluate(self, name: str, checkpoints: bool) -> tuple[str, Path]:
        """Figures of a run beside its class word and, if asked, its checkpoints; and the sheet of pictures."""
        folder = self.folder(name)
        subject, evaluation = evaluate_file(str(folder), settings={}, seeds=2, checkpoints=checkpoints)
        place = folder / "evaluation"
        figures = write_report(subject, evaluation, place, "both" if checkpoints else None)
        return report_text(figures, as_json=False), place / "pictures.png"

    def publish(self, name: str, to: str, public: bool) -> str:
        """Put a run on the hub; returns its address."""
        return publish(self.folder(name), to, public)


class Painter:
    """Draws prompts with what was learned, and keeps the last model until a run needs the memory."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self._lock = threading.Lock()
        self._loaded: tuple[ModelConfig, Embedding, Family] | None = None

    def draw(
        self, name: str, prompts: Sequence[str], negative: str, seeds: range, steps: int, guidance: float
    ) -> list[tuple[Image.Image, str]]:
        """A picture of each prompt from each seed, with its title; {token} stands for the token, as its name does.

        Raises BadInput where there is nothing to draw, or too much.
        """
        config, files = read_finished(self.shelf.folder(name))
        concept = config.concept
        texts = [with_tokens(fill(text, concept.trigger), {concept.stem: concept.trigger}) for text in prompts]
        if not texts or len(texts) * len(seeds) > MOST_DRAWN:
            raise BadInput(f"{len(texts)} prompts of {len(seeds)} seeds: draw 1 to {MOST_DRAWN} pictures at a time")
        with self._lock:
            family = self.family(config, read_embedding(files.embedding))
            size = checked_size(None, None, family.spec.resolution, family.pixels_per_latent)
            wanted = with_tokens(fill(negative, concept.trigger), {concept.stem: concept.trigger})
            drawn = [generate(family, texts, seed, steps, guidance, size, None, wanted) for seed in seeds]
        titles = [f"{text} (seed {seed})" for seed in seeds for text in texts]
        return list(zip((image for row in drawn for image in row), titles, strict=True))

    def family(self, config: TrainConfig, embedding: Embedding) -> Family:
        """The model of a run with its rows."""
        model = ModelConfig(**{name: getattr(config, name) for name in settings_of(ModelConfig)})
        if self._loaded is None or self._loaded[0] != model or not is_same(self._loaded[1], embedding):
            self._loaded = None  # before another one is loaded
            self._loaded = (model, embedding, load_with_embeddings(model, [embedding]))
        return self._loaded[2]

    def let_go(self) -> None:
        """Give the memory back."""
        with self._lock:
            self._loaded = None


def is_same(one: Embedding, other: Embedding) -> bool:
    """Whether two embeddings have one token and the same rows."""
    same = one.token == other.token and one.vectors.keys() == other.vectors.keys()
    return same and all(rows.equal(other.vectors[slot]) for slot, rows in one.vectors.items())
