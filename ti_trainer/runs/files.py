"""Where each file of a run lies in its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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

    def diffusers_embedding(self, suffix: str = "") -> Path:
        """The file for diffusers' text_encoder or, with "_2", text_encoder_2."""
        return self.root / "diffusers" / f"learned_embeds{suffix}.safetensors"

    def preview(self, step: int) -> Path:
        return self.root / "previews" / f"step-{step:06d}.png"

    def to_publish(self) -> dict[str, Path]:
        """What belongs to the finished run, by its name within the folder: all but hidden files and checkpoints."""
        return {
            path.relative_to(self.root).as_posix(): path
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and not path.name.startswith(".") and path.parent != self.checkpoints
        }
