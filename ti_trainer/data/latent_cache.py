"""Posteriors on disk, so that the next run over the same pictures does not need the VAE."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import BadInput
from ..files.atomic import write_bytes
from ..files.wording import flag
from .geometry import View

VERSION = 1  # of the format of entries; it is part of their names, so entries of another version are not found


class LatentCache:
    """A folder with a file for each view of a picture; any number of processes may read and write it at once.

    The name of a file is a hash of everything that its tensors depend on: the picture's bytes, the view, the colour
    behind transparent parts, and the VAE's weights. So after a change of picture or VAE no old entry is found.
    """

    def __init__(self, folder: str, vae_hash: str, pixels_per_latent: int) -> None:
        self.folder = Path(folder)
        self.vae_hash = vae_hash
        self.pixels_per_latent = pixels_per_latent
        self.asked = 0  # how often `load` was called
        self.found = 0  # how often it found an entry
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(
                f"{flag('latent_cache', folder)} cannot be made: {error.strerror}; choose another folder"
            ) from None

    def path(self, picture: str, view: View) -> Path:
        """The file for the posterior of a view; picture: its `picture_hash`."""
        box = [float(edge) for edge in view.box]  # so that 0 and 0.0 give the same name
        what = f"{VERSION} {self.vae_hash} {picture} {box} {view.size} {view.mirrored}"
        name = hashlib.sha256(what.encode()).hexdigest()
        return self.folder / name[:2] / f"{name}.safetensors"

    def load(self, picture: str, view: View) -> tuple[Tensor, Tensor] | None:
        """Mean and deviation, (c, h, w) float32; None if there is no entry or a damaged one."""
        self.asked += 1
        try:
            with safe_open(self.path(picture, view), framework="pt") as file:
                digest = (file.metadata() or {}).get("sha256")
                mean, std = (file.get_tensor(name) for name in ("mean", "std"))
        except (OSError, SafetensorError):
            return None
        if digest != content_hash({"mean": mean, "std": std}) or not all(self.fits(each, view) for each in (mean, std)):
            return None
        self.found += 1
        return mean, std

    def fits(self, tensor: Tensor, view: View) -> bool:
        """Whether type, shape and values can be those of the mean or the deviation of the view."""
        width, height = (side // self.pixels_per_latent for side in view.size)
        return (
            tensor.dtype == torch.float32
            and tensor.ndim == 3
            and tensor.shape[1:] == (height, width)
            and bool(tensor.isfinite().all())
        )

    def store(self, picture: str, view: View, mean: Tensor, std: Tensor) -> None:
        """Write an entry, completely or not at all; raises BadInput when the folder cannot be written."""
        tensors = {"mean": mean.contiguous(), "std": std.contiguous()}
        try:
            write_bytes(save(tensors, {"sha256": content_hash(tensors)}), self.path(picture, view))
        except OSError as error:
            raise BadInput(
                f"{flag('latent_cache', self.folder)} cannot be written: {error.strerror}; make room or choose "
                "another folder"
            ) from None


def picture_hash(content: bytes, alpha_color: str) -> str:
    """The hash of a picture file's bytes and of the colour behind its transparent parts."""
    return hashlib.sha256(f"{hashlib.sha256(content).hexdigest()} {alpha_color}".encode()).hexdigest()


def content_hash(tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 of the names, types, shapes and bytes of tensors, on any device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
