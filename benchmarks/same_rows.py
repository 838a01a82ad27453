"""The hash of what a fixed run learns, for every tiny model and the bundled one; a refactoring must not change it.

    python benchmarks/same_rows.py                     # this checkout
    git worktree add ../before COMMIT
    python benchmarks/same_rows.py ../before           # another commit, with this script

Each run trains two concepts at once for 12 steps, on pictures of several shapes, with masks, buckets, flips and class
pictures; after 6 steps it ends and is resumed. The hash is of the exported tensors and the losses of all steps. It is
always the same on one machine; another processor may round differently.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

os.environ |= {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
CHECKOUT = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1]).resolve()
sys.path.insert(0, str(CHECKOUT))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from tests.tiny_models import TINY_MODELS, build_folder  # noqa: E402
from ti_trainer import Concept, TrainConfig, train_all  # noqa: E402

SHAPES = ((40, 48), (64, 40), (48, 48))  # height, width


def draw_pictures(folder: Path, seed: int) -> str:
    """A coloured disc on coloured ground, and the disc as a mask, for each of SHAPES."""
    folder.mkdir()
    draws = np.random.default_rng(seed)
    for number, (height, width) in enumerate(SHAPES):
        ground, disc = draws.integers(0, 256, (2, 3))
        rows, columns = np.mgrid[:height, :width]
        inside = (rows - height // 2) ** 2 + (columns - width // 3) ** 2 < 100
        Image.fromarray(np.where(inside[..., None], disc, ground).astype(np.uint8)).save(folder / f"{number}.png")
        Image.fromarray(np.where(inside, 255, 0).astype(np.uint8)).save(folder / f"{number}.mask.png")
    return str(folder)


def learn(model: str, folder: Path) -> dict[str, str]:
    """The hash of each concept's exported tensors and losses, by token."""
    of_class = draw_pictures(folder / "class", 3)
    concepts = [
        Concept("<my-cat>", draw_pictures(folder / "cat", 1), init="cat", num_vectors=2, class_images=of_class),
        Concept("<my-dog>", draw_pictures(folder / "dog", 2), init="dog", num_vectors=1),
    ]
    settings: dict[str, Any] = {
        "model": model,
        "output": str(folder / "runs"),
        "batch_size": 4,
        "buckets": True,
        "flip": True,
        "validate_every": 3,
        "validation_samples": 4,
        "checkpoint_every": 3,
        "precision": "fp32",
        "plots": False,
    }
    for steps in (6, 12):
        runs = train_all([TrainConfig(c, steps=steps, resume=steps > 6, **settings) for c in concepts])
    return {
        concept.token: hash_of(load_file(str(run.embedding)), [line["loss"] for line in run.history])
        for concept, run in zip(concepts, runs, strict=True)
    }


def hash_of(tensors: dict[str, torch.Tensor], losses: list[float]) -> str:
    digest = hashlib.sha256(repr(losses).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} ".encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        models = {kind: str(build_folder(kind, Path(scratch, "models", kind))) for kind in TINY_MODELS}
        models["bundled"] = str(CHECKOUT / "sample_data" / "tiny-sd")
        for kind, model in models.items():
            folder = Path(scratch, kind)
            folder.mkdir()
            with redirect_stdout(sys.stderr):  # what the runs say
                digests = learn(model, folder)
            for token, digest in digests.items():
                print(f"{kind:16} {token:9} {digest}", flush=True)


if __name__ == "__main__":
    main()
