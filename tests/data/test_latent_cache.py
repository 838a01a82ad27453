"""What is found on disk is what was encoded, bit for bit; what is damaged or of something else is not found."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from ti_trainer.data.examples import Example
from ti_trainer.data.geometry import Framing, View
from ti_trainer.data.images import Picture
from ti_trainer.data.latent_cache import LatentCache, content_hash, picture_hash
from ti_trainer.data.latents import CachedView, LatentPosterior, ViewEncoder, views_of
from ti_trainer.errors import BadInput

VIEW = View((0, 0, 16, 16), (16, 16))


def posterior(shape: tuple[int, ...] = (4, 8, 8)) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=draws), torch.rand(shape, generator=draws)


def test_bit_for_bit(tmp_path: Path) -> None:
    cache = LatentCache(str(tmp_path / "a" / "b"), "vae", 2)
    assert cache.load("picture", VIEW) is None
    mean, std = posterior()
    mean[0, 0, 0] = 1e-40  # a subnormal number is one too
    cache.store("picture", VIEW, mean.movedim(0, -1).contiguous().movedim(-1, 0), std)  # in memory as channels last
    found = cache.load("picture", VIEW)
    assert found is not None
    assert torch.equal(found[0], mean)
    assert torch.equal(found[1], std)
    assert (cache.asked, cache.found) == (2, 1)
    (file,) = tmp_path.rglob("*.safetensors")
    assert set(load_file(file)) == {"mean", "std"}


@pytest.mark.parametrize(
    ("model", "picture", "view"),
    [
        ("other vae", "picture", VIEW),
        ("vae", "other picture", VIEW),
        ("vae", "picture", View((0, 0, 16, 16), (16, 16), True)),
        ("vae", "picture", View((0, 0, 16.5, 16.5), (16, 16))),
        ("vae", "picture", View((1, 0, 17, 16), (16, 16))),
        ("vae", "picture", View((0, 0, 16, 16), (32, 32))),
    ],
)
def test_another_vae_picture_or_view_is_not_found(tmp_path: Path, model: str, picture: str, view: View) -> None:
    LatentCache(str(tmp_path), "vae", 2).store("picture", VIEW, *posterior())
    assert LatentCache(str(tmp_path), model, 2).load(picture, view) is None
    same = View((0.0, 0.0, 16.0, 16.0), (16, 16))
    assert LatentCache(str(tmp_path), "vae", 2).load("picture", same) is not None


def test_hashes() -> None:
    """Every byte counts, and so do names, shapes, types, and the colour behind transparent parts."""
    assert len({picture_hash(b"a", "white"), picture_hash(b"a", "black"), picture_hash(b"b", "white")}) == 3
    weights = {"a": torch.arange(6.0), "b": torch.ones(2, 2, dtype=torch.bfloat16)}
    assert content_hash(weights) == content_hash(dict(reversed(weights.items())))
    nearly = torch.arange(6.0)
    nearly[5] = torch.nextafter(nearly[5], torch.tensor(9.0))
    others: list[dict[str, Tensor]] = [
        {**weights, "a": nearly},
        {**weights, "a": weights["a"].view(2, 3)},
        {**weights, "b": torch.ones(2, 2, dtype=torch.float16)},
        {"a": weights["a"], "c": weights["b"]},
        {"a": weights["a"]},
    ]
    assert len({content_hash(each) for each in [weights, *others]}) == 6


def nan(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    tensors["std"][0, 0, 0] = float("nan")
    return tensors


# what happened to the entry of (4, 8, 8); those that save tensors write a valid checksum
DAMAGES: dict[str, Callable[[Path], Any]] = {
    "empty": lambda file: file.write_bytes(b""),
    "cut short": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "only the header": lambda file: file.write_bytes(file.read_bytes()[:200]),
    "no safetensors": lambda file: file.write_bytes(b"\xff" * 3000),
    "one bit": lambda file: file.write_bytes(file.read_bytes()[:-1] + bytes([file.read_bytes()[-1] ^ 1])),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
    "shape": lambda file: resave(file, {name: each[:, :4] for name, each in load_file(file).items()}),
    "dimensions": lambda file: resave(file, {name: each[None] for name, each in load_file(file).items()}),
    "type": lambda file: resave(file, {name: each.double() for name, each in load_file(file).items()}),
    "NaN": lambda file: resave(file, nan(load_file(file))),
    "no deviation": lambda file: resave(file, {"mean": load_file(file)["mean"]}),
    "no checksum": lambda file: save_file(load_file(file), file),
}


def resave(file: Path, tensors: dict[str, Tensor]) -> None:
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(tensors, file, {"sha256": content_hash(tensors)})


@pytest.fixture
def examples(tmp_path: Path) -> list[Example]:
    found = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (16, 24, 3), dtype=np.uint8)).save(path)
        found.append(Example(Picture.at(path), ("{token}",), (24, 16)))
    return found


def encoder() -> Any:
    """Averages of 2 x 2 pixels, in four channels; `seen` counts the pictures."""

    def encode_images(pixels: Tensor) -> LatentPosterior:
        found.seen += len(pixels)
        mean = torch.nn.functional.avg_pool2d(pixels, 2)[:, [0, 1, 2, 0]]
        return LatentPosterior(mean, mean.square())

    found = SimpleNamespace(pixels_per_latent=2, latent_channels=4, encode_images=encode_images, seen=0)
    return found


def encode(
    examples: list[Example], framing: Framing, encoder: Any, cache: LatentCache | None = None
) -> list[list[CachedView]]:
    """All views of the examples, each of them encoded or found."""
    views = views_of(examples, "<cat>", framing, 1.0, ViewEncoder(encoder, "white", cache))
    assert all(view.encode().mean.shape == view.shape for shown in views for view in shown)
    return views


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_entries_are_made_anew(tmp_path: Path, examples: list[Example], damage: str) -> None:
    framing = Framing(16)
    folder = tmp_path / "cache"
    plain = encode(examples, framing, encoder())
    encode(examples, framing, encoder(), LatentCache(str(folder), "vae", 2))
    file = sorted(folder.rglob("*.safetensors"))[1]
    DAMAGES[damage](file)
    if damage == "a folder":  # nothing can be written there, and nobody deletes a user's folder
        with pytest.raises(BadInput, match=r"latent_cache=\".*\" cannot be written"):
            encode(examples, framing, encoder(), LatentCache(str(folder), "vae", 2))
        return
    for encoded in (1, 0):
        vae, cache = encoder(), LatentCache(str(folder), "vae", 2)
        found = encode(examples, framing, vae, cache)
        assert (vae.seen, cache.asked, cache.found) == (encoded, 3, 3 - encoded)
        for (one,), (other,) in zip(found, plain, strict=True):
            assert torch.equal(one.encode().mean, other.encode().mean)
            assert torch.equal(one.encode().std, other.encode().std)


def test_a_changed_picture_is_encoded_again(tmp_path: Path, examples: list[Example]) -> None:
    """Only that one; and a renamed one is found."""
    folder, framing = str(tmp_path / "cache"), Framing(16, crop="random", flip=True)
    encode(examples, framing, encoder(), LatentCache(folder, "vae", 2))
    path = Path(examples[1].picture.name)
    with Image.open(path) as image:
        pixels = np.array(image)
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(path)
    (tmp_path / "0.png").rename(tmp_path / "renamed.png")
    examples[0] = Example(Picture.at(tmp_path / "renamed.png"), ("{token}",), (24, 16))
    vae = encoder()
    found = encode(examples, framing, vae, LatentCache(folder, "vae", 2))
    assert vae.seen == len(set(framing.views((24, 16), None, "<cat>", 1)))
    plain = encode(examples, framing, encoder())
    for views, wanted in zip(found, plain, strict=True):
        for one, other in zip(views, wanted, strict=True):
            assert torch.equal(one.encode().mean, other.encode().mean)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"latent_cache=\".*\" cannot be made: .*; choose another folder"):
        LatentCache(str(tmp_path / "file" / "cache"), "vae", 2)


# Stores and reads the same 30 entries, over and over; prints how many it read.
WRITER = """
import sys, torch
from ti_trainer.data.geometry import View
from ti_trainer.data.latent_cache import LatentCache
cache = LatentCache(sys.argv[1], "vae", 2)
for turn in range(6):
    for number in range(30):
        view, mean = View((number, 0, number + 16, 16), (16, 16)), torch.full((4, 8, 8), float(number))
        found = cache.load("picture", view)
        if turn and found is None:
            sys.exit("lost")
        if found is not None and not (torch.equal(found[0], mean) and torch.equal(found[1], mean + 1)):
            sys.exit("wrong")
        cache.store("picture", view, mean, mean + 1)
print(cache.found)
"""


@pytest.mark.long
def test_two_processes_fill_one_cache(tmp_path: Path) -> None:
    """Neither ever sees a part of a file, or none where there was one; nothing unfinished is left."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    for process, (printed, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors
        assert int(printed) >= 150
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 30
    assert all(file.suffix == ".safetensors" and not file.name.startswith(".") for file in files)
