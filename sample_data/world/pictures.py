"""The pictures of the world, as one array on disk; each picture and its captions are functions of its index."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from .attributes import Description, draw_description
from .captions import random_caption
from .drawing import SIZE, draw
from .settings import PICTURES, SEED, VALIDATION


def description(index: int) -> Description:
    """What picture `index` shows."""
    return draw_description(random.Random(f"{SEED} description {index}"))


def real_picture(index: int) -> Image.Image:
    """Picture `index`, drawn anew."""
    return draw(description(index), random.Random(f"{SEED} picture {index}"))


def caption(index: int, draw_number: int) -> str:
    """A caption of picture `index`; another draw_number gives another one."""
    rng = random.Random(f"{SEED} caption {index} {draw_number}")
    return random_caption(description(index), rng, thoroughness=rng.uniform(0.55, 1.0))


def load_pictures(folder: Path) -> np.ndarray:
    """(PICTURES + VALIDATION, 64, 64, 3) uint8, rendered at the first call; the validation pictures are the last."""
    path = folder / "pictures.npy"
    count = PICTURES + VALIDATION
    if not path.exists():
        pictures = np.empty((count, SIZE, SIZE, 3), np.uint8)
        for index in tqdm(range(count), desc="pictures", mininterval=2):
            pictures[index] = np.asarray(real_picture(index))
        unfinished = path.with_suffix(".part.npy")
        np.save(unfinished, pictures)
        unfinished.replace(path)
    return np.load(path, mmap_mode="r")


def as_tensor(pictures: np.ndarray) -> torch.Tensor:
    """(B, 64, 64, 3) uint8 -> (B, 3, 64, 64) float in [-1, 1]."""
    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float().contiguous() / 127.5 - 1
