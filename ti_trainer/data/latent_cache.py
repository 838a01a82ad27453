"""Posteriors on disk, so that another run over the same pictures does not need the VAE."""

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
from .geometry import View

VERSION = 1  # of what an entry means; an entry of another version is not found


class LatentCache:
    """A folder with a file for each view of a picture; any number of processes may read and write it at once.

    The name of a file is the hash of all that its tensors depend on: the picture's bytes, the view, the colour behind
    transparent parts, the VAE's weights. So a changed picture or VAE is not found, and nothing is ever out of date.
    """

    def __init__(self, folder: str, vae_hash: str, pixels_per_latent: int) -> None:
        self.folder, self.vae_hash, self.pixels_per_latent = Path(folder), vae_hash, pixels_per_latent
        self.asked = self.found = 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"--latent_cache {folder} cannot be made: {error.strerror}; choose another folder") from None

    def path(self, picture: str, view: View) -> Path:
        """Where the posterior of a view lies; picture: its `picture_hash`."""
        box = [float(edge) for edge in view.box]  # 0 and 0.0 are one place
        what = f"{VERSION} {self.vae_hash} {picture} {box} {view.size} {view.mirrored}"
        name = hashlib.sha256(what.encode()).hexdigest()
        return self.folder / name[:2] / f"{name}.safetensors"

    def load(self, picture: str, view: View) -> tuple[Tensor, Tensor] | None:
        """Mean and deviation, (c, h, w) float32; None where there is no entry, or a damaged one."""
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
        """Whether this can be the mean or the deviation of that view."""
        width, height = (side // self.pixels_per_latent for side in view.size)
        return (
            tensor.dtype == torch.float32
            and tensor.ndim == 3
            and tensor.shape[1:] == (height, width)
            and bool(tensor.isfinite().all())
        )

    def store(self, picture: str, view: View, mean: Tensor, std: Tensor) -> None:
        """Write an entry, whole or not at all; raises BadInput when the folder cannot be written."""
        tensors = {"mean": mean.contiguous(), "std": std.contiguous()}
        try:
            write_bytes(save(tensors, {"sha256": content_hash(tensors)}), self.path(picture, view))
        except OSError as error:
            raise BadInput(
                f"--latent_cache {self.folder} cannot be written: {error.strerror}; make room or choose another folder"
            ) from None


def picture_hash(content: bytes, alpha_color: str) -> str:
    """Of a picture file's bytes, and of the colour that its transparent parts are to show."""
    return hashlib.sha256(f"{hashlib.sha256(content).hexdigest()} {alpha_color}".encode()).hexdigest()


def content_hash(tensors: Mapping[str, Tensor]) -> str:
    """The sha256 of names, types, shapes and all bytes of some tensors, on whatever device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
