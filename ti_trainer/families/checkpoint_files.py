"""Checkpoint files in the original layout: what is in them, and those of before transformers had a `text_model`."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..config.model import ModelConfig
from ..errors import BadInput
from ..files.wording import flag

PICKLES = (".ckpt", ".pt", ".pth", ".bin")

# how the names of tensors start -> the part, and the setting that names another one
PARTS = {"model.diffusion_model.": ("U-Net", ""), "first_stage_model.": ("VAE", "vae")}

# CLIP's tensors in the first checkpoints of Stable Diffusion 1, and what they are called since
OLD = "cond_stage_model.transformer."
NEW = f"{OLD}text_model."
OLD_PARTS = ("embeddings.", "encoder.", "final_layer_norm.")


def checkpoint_keys(config: ModelConfig, path: Path) -> set[str]:
    """The names of the tensors in a checkpoint file; raises BadInput where they cannot be read, or may not be."""
    check_readable(config, path, "model")
    if is_pickle(path):
        return set(read_pickle(path))
    try:
        with safe_open(path, framework="pt") as file:
            return set(file.keys())
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{flag('model', path)} is not a safetensors file: {error}") from None


def is_pickle(path: Path) -> bool:
    return path.suffix.lower() in PICKLES


def check_readable(config: ModelConfig, path: Path, setting: str) -> None:
    """Raises BadInput for a pickle, unless whoever trains trusts it."""
    if is_pickle(path) and not config.allow_pickle:
        raise BadInput(
            f"{flag(setting, path)} is a pickle, which can run code when read: use the .safetensors file, or add "
            f"{flag('allow_pickle', True)} if you trust it"
        )


def read_pickle(path: Path) -> dict[str, Any]:
    """The tensors of a pickled checkpoint, of which nothing is run; raises BadInput where they cannot be read."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # whatever the unpickler makes of such a file
        raise BadInput(f"{flag('model', path)} cannot be read: {str(error).splitlines()[0]}") from None
    tensors: dict[str, Any] = content.get("state_dict", content)
    return tensors


def check_whole(config: ModelConfig, keys: Collection[str]) -> None:
    """Raises BadInput for a checkpoint without one of its parts; keys: the names of its tensors."""
    for start, (part, setting) in PARTS.items():
        given = setting and getattr(config, setting)
        if not given and not any(key.startswith(start) for key in keys):
            cure = f"add {flag(setting)} with the folder or the file of one" if setting else "take a whole checkpoint"
            raise BadInput(f"{flag('model', config.model)} has no {part} in it; {cure}")


@contextmanager
def with_names_of_now(path: Path, keys: Collection[str]) -> Iterator[Path]:
    """The checkpoint, or for the block a copy of it, in which the text encoder's tensors are called as they are today.

    keys: the names of its tensors.
    """
    if not any(key.startswith(f"{OLD}{part}") for key in keys for part in OLD_PARTS):
        yield path
        return
    tensors = read_pickle(path) if is_pickle(path) else load_file(path)
    renamed = {named_as_now(name): value for name, value in tensors.items() if isinstance(value, Tensor)}
    with tempfile.TemporaryDirectory(prefix="ti-trainer-") as folder:
        copy = Path(folder) / f"{path.stem}.safetensors"
        save_file({name: value.contiguous() for name, value in renamed.items()}, copy)
        yield copy


def named_as_now(name: str) -> str:
    is_old = any(name.startswith(f"{OLD}{part}") for part in OLD_PARTS)
    return NEW + name.removeprefix(OLD) if is_old else name
