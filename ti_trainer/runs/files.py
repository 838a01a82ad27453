"""Where each file of a run lies in its folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..files.names import token_of_step


@dataclass(frozen=True)
class RunFiles:
    """The files of a run whose folder is `root`; stem: of the embedding's name, "my-cat" for "<my-cat>"."""

    root: Path
    stem: str

    @property
    def config(self) -> Path:
        return self.root / "config.yaml"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.jsonl"

    @property
    def loss_plot(self) -> Path:
        return self.root / "loss.png"

    @property
    def before_after(self) -> Path:
        return self.root / "before_after.png"

    @property
    def previews(self) -> Path:
        """The growing picture of all previews."""
        return self.root / "previews.png"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    @property
    def card(self) -> Path:
        return self.root / "README.md"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        return self.root / "tensorboard"

    @property
    def lock(self) -> Path:
        return self.root / ".lock"

    @property
    def discarded(self) -> Path:
        """Where the folder is while it is deleted; no run has such a name."""
        return self.root.with_name(f".{self.root.name}.discarded")

    @property
    def embedding(self) -> Path:
        """The file for WebUIs."""
        return self.root / f"{self.stem}.safetensors"

    @property
    def thumbnail(self) -> Path:
        """The picture that WebUIs show for the embedding beside which it lies."""
        return self.root / f"{self.stem}.preview.png"

    def diffusers_embedding(self, suffix: str = "") -> Path:
        """The file for diffusers' text_encoder or, with "_2", text_encoder_2."""
        return self.root / "diffusers" / f"learned_embeds{suffix}.safetensors"

    def embedding_of_step(self, step: int) -> Path:
        """The file for WebUIs of the rows of one step."""
        return self.root / "embeddings" / f"{token_of_step(self.stem, step)}.safetensors"

    def preview(self, step: int, column: int) -> Path:
        """One picture of the rows of a step; columns count from 1."""
        return self.root / "previews" / f"step-{step:06d}-{column}.png"

    def preview_steps(self) -> list[int]:
        """The steps of which there are pictures, rising."""
        return sorted({step for step, path in self.of_steps() if path.suffix == ".png"})

    def after(self, step: int) -> list[Path]:
        """The embeddings and pictures of later steps."""
        return [path for own, path in self.of_steps() if own > step]

    def of_steps(self) -> list[tuple[int, Path]]:
        """Every embedding and picture of a step, and its step."""
        names = {
            "embeddings": rf"{re.escape(self.stem)}-(\d{{6,8}})\.safetensors",
            "previews": r"step-(\d{6,8})-\d+\.png",
        }
        found = []
        for folder, name in names.items():
            for path in sorted((self.root / folder).glob("*")):
                match = re.fullmatch(name, path.name)
                found += [(int(match[1]), path)] if match else []
        return found

    def to_publish(self) -> dict[str, Path]:
        """What belongs to the finished run, by its name within the folder: all but hidden files and checkpoints."""
        return {
            path.relative_to(self.root).as_posix(): path
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and not path.name.startswith(".") and path.parent != self.checkpoints
        }
