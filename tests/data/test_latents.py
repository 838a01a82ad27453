from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from ti_trainer.data import latents
from ti_trainer.data.examples import Example, MaskSource
from ti_trainer.data.geometry import Framing, View
from ti_trainer.data.images import Picture, read_image
from ti_trainer.data.latent_cache import LatentCache
from ti_trainer.data.latents import CachedView, LatentPosterior, ViewEncoder, views_of


@pytest.fixture(scope="module")
def vae() -> Any:
    from diffusers import AutoencoderKL

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
        return AutoencoderKL(block_out_channels=(4, 8), norm_num_groups=2, **blocks).requires_grad_(False).eval()


def encoder(vae: Any, dtype: torch.dtype = torch.float32) -> Any:
    """What a family has of a VAE; `seen` counts the pictures that it encoded."""

    def encode_images(pixels: torch.Tensor) -> LatentPosterior:
        found.seen += len(pixels)
        distribution = vae.encode(pixels).latent_dist
        return LatentPosterior(distribution.mean.to(dtype), distribution.std.to(dtype))

    found = SimpleNamespace(pixels_per_latent=2, latent_channels=4, encode_images=encode_images, seen=0)
    return found


def views_in(examples: list[Example], framing: Framing, mask_background: float, vae: Any) -> list[list[CachedView]]:
    return views_of(examples, "<cat>", framing, mask_background, ViewEncoder(vae, "white"))


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    """Pictures of different shapes, at the size at which they are read and larger; the second has a mask."""
    folder, draws = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    found = []
    for name, (height, width) in {"a": (16, 16), "b": (16, 24), "c": (40, 32)}.items():
        path = folder / f"{name}.png"
        Image.fromarray(draws.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
        found.append(Example(Picture.at(path), ("{token}",), (width, height)))
    mask = Image.new("L", (24, 16), 0)
    mask.paste(255, (18, 0, 24, 8))
    mask.save(folder / "b.mask.png")
    found[1] = Example(found[1].picture, ("{token}",), (24, 16), mask=MaskSource(Picture.at(folder / "b.mask.png")))
    return found


BOXES = {"a": (0, 0, 16, 16), "b": (4, 0, 20, 16), "c": (0, 4, 32, 36)}


def by_hand(vae: Any, examples: list[Example], mirror: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """All central squares in one batch: mean, and deviation from the logarithm of the variance."""
    squares = []
    for example in examples:
        path = Path(example.picture.name)
        image = Image.open(path).resize((16, 16), Image.Resampling.LANCZOS, box=BOXES[path.stem])
        image = ImageOps.mirror(image) if mirror else image
        squares.append(torch.tensor(np.asarray(image).copy()).float().movedim(-1, 0) / 255 * 2 - 1)
    moments = vae.quant_conv(vae.encoder(torch.stack(squares)))  # (N, 2c, h, w)
    mean, log_variance = moments.chunk(2, dim=1)
    return mean, (log_variance / 2).exp()


def stacked(views: list[list[CachedView]], number: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """View `number` of every picture: means and deviations."""
    posteriors = [of_picture[number].encode() for of_picture in views]
    return torch.stack([each.mean for each in posteriors]), torch.stack([each.std for each in posteriors])


def test_posteriors_of_all_pictures(vae: Any, examples: list[Example]) -> None:
    found = views_in(examples, Framing(16), 0.1, encoder(vae))
    assert [len(views) for views in found] == [1, 1, 1]
    for tensor, wanted in zip(stacked(found), by_hand(vae, examples, mirror=False), strict=True):
        torch.testing.assert_close(tensor, wanted)
    assert [views[0].sizes for views in found] == [
        (16, 16, 0, 0, 16, 16),
        (16, 24, 0, 4, 16, 16),
        (40, 32, 2, 0, 16, 16),
    ]


def test_mirrored_views_come_after_the_others(vae: Any, examples: list[Example]) -> None:
    """They are the latents of mirrored pictures, which mirrored latents are not."""
    found = views_in(examples, Framing(16, flip=True), 0.1, encoder(vae))
    assert [len(views) for views in found] == [2, 2, 2]
    for mirror in (False, True):
        for tensor, wanted in zip(stacked(found, int(mirror)), by_hand(vae, examples, mirror), strict=True):
            torch.testing.assert_close(tensor, wanted)
    assert (stacked(found, 1)[0] - stacked(found, 0)[0].flip(-1)).abs().max() > 0.01


def test_half_precision_vae(vae: Any, examples: list[Example]) -> None:
    """The cache is float32 whatever the VAE is."""
    found = views_in(examples, Framing(16), 0.1, encoder(vae, torch.float16))
    for tensor, wanted in zip(stacked(found), by_hand(vae, examples, mirror=False), strict=True):
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, wanted.half().float(), atol=2e-3, rtol=2e-3)


def test_equal_views_are_encoded_once(vae: Any, examples: list[Example]) -> None:
    """A square picture has one crop however many are asked for; the others have as many as they can have."""
    counting = encoder(vae)
    framing = Framing(16, crop="random", crops=6, flip=True)
    found = views_in(examples, framing, 1.0, counting)
    assert [len(views) for views in found] == [12, 12, 12]
    distinct = [len(set(framing.views(each.size, None, "<cat>", n))) for n, each in enumerate(examples)]
    assert distinct[0] == 2
    assert min(distinct[1:]) > 4
    assert counting.seen == 0
    for _ in range(2):
        assert all(view.encode().mean.shape == view.shape for views in found for view in views)
        assert counting.seen == sum(distinct)
    assert found[0][0] is found[0][2]
    assert found[0][0].encode().mean is found[0][2].encode().mean
    assert [len(set(views)) for views in found] == distinct


def test_buckets_keep_the_shape(vae: Any, examples: list[Example]) -> None:
    """Each posterior is that of the picture cut by its own view."""
    found = views_in(examples, Framing(16, 4), 0.1, encoder(vae))
    assert [views[0].sizes[4:] for views in found] == [(16, 16), (12, 20), (16, 16)]
    wide = View((0, 0.8, 24, 15.2), (20, 12))
    pixels = torch.tensor(np.asarray(wide.cut(Image.open(examples[1].picture.name))).copy()).float().movedim(-1, 0)
    wanted = vae.encode(pixels[None] / 127.5 - 1).latent_dist
    assert torch.equal(found[1][0].encode().mean, wanted.mean[0])
    assert torch.equal(found[1][0].encode().std, wanted.std[0])


def test_masks_are_cut_like_their_pictures(vae: Any, examples: list[Example]) -> None:
    """The subject is at 18 to 24 and shows at 14 to 16 of the central square; mirrored at 0 to 2."""
    (_, views, _) = views_in(examples, Framing(16, flip=True), 0.1, encoder(vae))
    expected = torch.full((1, 8, 8), 0.1)
    expected[:, :4, 7:] = 1
    assert views[0].mask is not None
    assert views[1].mask is not None
    torch.testing.assert_close(views[0].mask, expected)
    torch.testing.assert_close(views[1].mask, expected.flip(-1))
    (plain, (around,), _) = views_in(examples, Framing(16, crop="subject"), 0.1, encoder(vae))
    assert plain[0].mask is None
    assert around.sizes[3] == 8  # 16 pixels around 21, kept within 24
    off = views_in(examples, Framing(16, crop="subject"), 1.0, encoder(vae))
    assert off[1][0].mask is None
    assert off[1][0].sizes == around.sizes


def counted(examples: list[Example]) -> tuple[list[Example], list[str]]:
    """The examples, and a list that grows with every reading of a picture's file."""
    read: list[str] = []

    def note(path: str) -> bytes:
        read.append(Path(path).stem)
        return Path(path).read_bytes()

    def watched(example: Example) -> Example:
        name = example.picture.name
        return replace(example, picture=Picture(name, lambda: note(name)))

    return [watched(example) for example in examples], read


def test_only_what_is_asked_for_is_read_and_encoded(vae: Any, examples: list[Example]) -> None:
    watched, read = counted(examples)
    counting = encoder(vae)
    views = views_in(watched, Framing(16, 4, flip=True), 1.0, counting)
    assert [[view.shape for view in shown] for shown in views] == [[(4, 8, 8)] * 2, [(4, 6, 10)] * 2, [(4, 8, 8)] * 2]
    with pytest.raises(RuntimeError, match=r"call encode\(\) first"):
        _ = views[1][1].posterior
    assert (read, counting.seen) == ([], 0)
    wanted = views_in(examples, Framing(16, 4, flip=True), 1.0, encoder(vae))[1][1].encode()
    assert torch.equal(views[1][1].encode().mean, wanted.mean)
    assert torch.equal(views[1][1].encode().std, wanted.std)
    assert (read, counting.seen) == (["b"], 1)
    assert [[view.is_encoded for view in shown] for shown in views] == [[False] * 2, [False, True], [False] * 2]
    assert views[1][1].encode() is views[1][1].posterior
    assert counting.seen == 1


def test_a_picture_is_read_and_decoded_once_for_views_in_a_row(
    vae: Any, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was asked for before, the posterior is that of the view alone."""
    decoded: list[str] = []

    def decode(picture: Picture, *how: Any) -> Image.Image:
        decoded.append(Path(picture.name).stem)
        return read_image(picture, *how)

    monkeypatch.setattr(latents, "read_image", decode)
    framing = Framing(16, crop="random", crops=3, flip=True)
    watched, read = counted(examples)
    encode = ViewEncoder(encoder(vae), "white")
    views = [list(dict.fromkeys(shown)) for shown in views_of(watched, "<cat>", framing, 1.0, encode)]
    order = [(1, 0), (1, 1), (1, 2), (2, 1), (2, 0), (1, 3)]
    found = {place: views[place[0]][place[1]].encode() for place in order}
    assert decoded == read == ["b", "c", "b"]
    encode.forget()
    found[1, 4] = views[1][4].encode()
    found[1, 5] = views[1][5].encode()
    assert decoded == read == ["b", "c", "b", "b"]
    for (picture, view), posterior in found.items():
        box = list(dict.fromkeys(framing.views(examples[picture].size, None, "<cat>", picture)))[view]
        with Image.open(examples[picture].picture.name) as image:
            square = image.resize((16, 16), Image.Resampling.LANCZOS, box=box.box)
        square = ImageOps.mirror(square) if box.mirrored else square
        pixels = torch.tensor(np.asarray(square).copy()).float().movedim(-1, 0) / 255 * 2 - 1
        distribution = vae.encode(pixels[None]).latent_dist
        torch.testing.assert_close(posterior.mean, distribution.mean[0])
        torch.testing.assert_close(posterior.std, distribution.std[0])


def test_transparent_parts_have_the_colour_of_the_encoder(vae: Any, tmp_path: Path) -> None:
    Image.new("RGBA", (16, 16), (0, 0, 0, 0)).save(tmp_path / "nothing.png")
    nothing = Example(Picture.at(tmp_path / "nothing.png"), ("{token}",), (16, 16))
    ((view,),) = views_of([nothing], "<cat>", Framing(16), 1.0, ViewEncoder(encoder(vae), "#ff0000"))
    red = torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    torch.testing.assert_close(view.encode().mean, vae.encode(red).latent_dist.mean[0])


def test_what_lies_on_disk_is_not_decoded(
    vae: Any, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is read, to know which picture it is; a view that is not there is encoded of the same bytes."""
    first = encoder(vae)
    disk = LatentCache(str(tmp_path / "cache"), "vae", 2)
    views = views_of(examples, "<cat>", Framing(16, flip=True), 1.0, ViewEncoder(first, "white", disk))
    kept = [views[number][0].encode() for number in range(3)]  # of the mirrored ones nothing
    assert (first.seen, disk.asked, disk.found) == (3, 3, 0)

    watched, read = counted(examples)
    monkeypatch.setattr(latents, "read_image", lambda *_: pytest.fail("decoded"))
    second, disk = encoder(vae), LatentCache(str(tmp_path / "cache"), "vae", 2)
    again = views_of(watched, "<cat>", Framing(16, flip=True), 1.0, ViewEncoder(second, "white", disk))
    for number in range(3):
        assert torch.equal(again[number][0].encode().mean, kept[number].mean)
        assert torch.equal(again[number][0].encode().std, kept[number].std)
    assert (read, second.seen, disk.asked, disk.found) == (["a", "b", "c"], 0, 3, 3)

    monkeypatch.undo()
    assert torch.equal(again[2][1].encode().mean, views[2][1].encode().mean)
    assert (read, second.seen, disk.asked, disk.found) == (["a", "b", "c"], 1, 4, 3)


def test_sample_is_that_of_diffusers(vae: Any) -> None:
    pixels = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    distribution = vae.encode(pixels).latent_dist
    expected = distribution.sample(generator=torch.Generator().manual_seed(2))
    noise = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(encoder(vae).encode_images(pixels).sample(noise), expected)
