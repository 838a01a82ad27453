from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from ti_trainer.data.images import Picture
from ti_trainer.data.latents import LatentPosterior, cache_latents


@pytest.fixture(scope="module")
def vae():
    from diffusers import AutoencoderKL

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
        return AutoencoderKL(block_out_channels=(4, 8), norm_num_groups=2, **blocks).requires_grad_(False).eval()


def encoder(vae) -> Callable[[torch.Tensor], LatentPosterior]:
    def encode_images(pixels: torch.Tensor) -> LatentPosterior:
        distribution = vae.encode(pixels).latent_dist
        return LatentPosterior(distribution.mean, distribution.std)

    return encode_images


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Pictures of different shapes, at the size at which they are read and larger."""
    folder, draws = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    found = []
    for name, (height, width) in {"a": (16, 16), "b": (16, 24), "c": (40, 32)}.items():
        found.append(folder / f"{name}.png")
        Image.fromarray(draws.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(found[-1])
    return found


def by_hand(vae, paths: list[Path], mirror: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """All pictures in one batch: mean, and deviation from the logarithm of the variance."""
    boxes = {"a": (0, 0, 16, 16), "b": (4, 0, 20, 16), "c": (0, 4, 32, 36)}
    squares = []
    for path in paths:
        image = Image.open(path).resize((16, 16), Image.Resampling.LANCZOS, box=boxes[path.stem])
        image = ImageOps.mirror(image) if mirror else image
        squares.append(torch.tensor(np.asarray(image).copy()).float().movedim(-1, 0) / 255 * 2 - 1)
    moments = vae.quant_conv(vae.encoder(torch.stack(squares)))  # (N, 2c, h, w)
    mean, log_variance = moments.chunk(2, dim=1)
    return mean, (log_variance / 2).exp()


def test_posteriors_of_all_pictures(vae, paths: list[Path]) -> None:
    found = cache_latents([Picture.at(path) for path in paths], 16, False, encoder(vae))
    mean, std = by_hand(vae, paths, mirror=False)
    assert found.mean.shape == (3, 4, 8, 8)
    torch.testing.assert_close(found.mean, mean)
    torch.testing.assert_close(found.std, std)


def test_mirrored_pictures_come_after_all_others(vae, paths: list[Path]) -> None:
    """They are the latents of mirrored pictures, which mirrored latents are not."""
    found = cache_latents([Picture.at(path) for path in paths], 16, True, encoder(vae))
    assert len(found.mean) == len(found.std) == 6
    for half, mirror in ((slice(0, 3), False), (slice(3, 6), True)):
        mean, std = by_hand(vae, paths, mirror)
        torch.testing.assert_close(found.mean[half], mean)
        torch.testing.assert_close(found.std[half], std)
    assert (found.mean[3:] - found.mean[:3].flip(-1)).abs().max() > 0.01


def test_half_precision_vae(vae, paths: list[Path]) -> None:
    """The cache is float32 whatever the VAE is."""

    def encode_images(pixels: torch.Tensor) -> LatentPosterior:
        exact = encoder(vae)(pixels)
        return LatentPosterior(exact.mean.half(), exact.std.half())

    found = cache_latents([Picture.at(path) for path in paths], 16, False, encode_images)
    mean, std = by_hand(vae, paths, mirror=False)
    assert found.mean.dtype == found.std.dtype == torch.float32
    torch.testing.assert_close(found.mean, mean.half().float(), atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(found.std, std.half().float(), atol=2e-3, rtol=2e-3)


def test_progress_sees_every_picture(vae, paths: list[Path]) -> None:
    seen: list[list[str]] = []
    pictures = [Picture.at(path) for path in paths]
    cache_latents(pictures, 16, True, encoder(vae), lambda each: (seen.append([p.name for p in each]), each)[1])
    assert seen == [[str(path) for path in paths]] * 2


def test_sample_is_that_of_diffusers(vae) -> None:
    pixels = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    distribution = vae.encode(pixels).latent_dist
    expected = distribution.sample(generator=torch.Generator().manual_seed(2))
    noise = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(encoder(vae)(pixels).sample(noise), expected)


def test_choice_of_posteriors() -> None:
    posterior = LatentPosterior(torch.arange(3.0).view(3, 1, 1, 1), torch.arange(10.0, 13).view(3, 1, 1, 1))
    chosen = posterior[torch.tensor([2, 0, 2])]
    assert chosen.mean.flatten().tolist() == [2, 0, 2]
    assert chosen.std.flatten().tolist() == [12, 10, 12]
