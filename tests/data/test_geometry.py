"""Which part of a picture is shown, against brute force and Pillow's own `ImageOps.fit`."""

import itertools
import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from ti_trainer.data.geometry import (
    Framing,
    View,
    bucket_sizes,
    largest_window,
    mask_weights,
    nearest_bucket,
    subject_box,
)
from ti_trainer.errors import BadInput
from ti_trainer.method.crops import check_crop

PICTURES = [(64, 64), (48, 40), (40, 48), (65, 33), (33, 65), (300, 100), (100, 301), (7, 5), (1, 9), (1920, 1080)]


def noise(size: tuple[int, int], seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def mask_of(size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    mask = Image.new("L", size, 0)
    mask.paste(255, box)
    return mask


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("crop", ["centre", "subject"])
def test_the_square_is_that_of_pillow(picture: tuple[int, int], crop: str) -> None:
    (view,) = Framing(32, crop=crop).views(picture, None, "<cat>", 0)
    image = noise(picture)
    expected = ImageOps.fit(image, (32, 32), Image.Resampling.LANCZOS)
    assert view.cut(image).tobytes() == expected.tobytes()


@pytest.mark.parametrize("crop", ["centre", "random", "subject"])
@pytest.mark.parametrize("bucket_step", [None, 16])
def test_a_square_picture_needs_nothing(crop: str, bucket_step: int | None) -> None:
    """All views are the picture itself, and every second one is mirrored."""
    views = Framing(64, bucket_step, crop, flip=True).views((64, 64), None, "<cat>", 0)
    assert views == [View((0, 0, 64, 64), (64, 64)), View((0, 0, 64, 64), (64, 64), True)] * (len(views) // 2)
    assert len(views) == (16 if crop == "random" else 2)
    image = noise((64, 64))
    assert views[0].cut(image).tobytes() == image.tobytes()
    assert views[1].cut(image).tobytes() == ImageOps.mirror(image).tobytes()


@pytest.mark.parametrize(("resolution", "step"), [(512, 64), (768, 64), (1024, 64), (64, 16), (32, 8), (96, 32)])
def test_buckets(resolution: int, step: int) -> None:
    sizes = bucket_sizes(resolution, step)
    assert (resolution, resolution) in sizes
    assert len(set(sizes)) == len(sizes)
    for width, height in sizes:
        assert width % step == height % step == 0
        assert resolution / 2 <= min(width, height)
        assert width * height <= resolution**2
        assert (height, width) in sizes
        longer = max(width, height) + step  # no size of the same short side would be larger
        assert min(width, height) * longer > resolution**2 or (width + step) * (height + step) > resolution**2


def test_buckets_of_stable_diffusion() -> None:
    """Those of NovelAI's article for 512 pixels, from 2:1 on narrower ones included."""
    sizes = bucket_sizes(512, 64)
    assert {(512, 512), (448, 576), (384, 640), (320, 768), (320, 704), (256, 1024)} <= set(sizes)
    assert max(max(size) for size in sizes) == 1024


@pytest.mark.parametrize("picture", PICTURES)
def test_the_nearest_bucket(picture: tuple[int, int]) -> None:
    """Against all rectangles in multiples of the step, one by one."""
    best, chosen = math.inf, (0, 0)
    sides = range(16, 129, 16)
    for width, height in itertools.product(sides, sides):
        fills = width * height <= 64**2 and min(width, height) >= 32
        tight = width * (height + 16) > 64**2 or height * (width + 16) > 64**2
        distance = abs(math.log2(width * picture[1] / (height * picture[0])))
        closer = distance < best - 1e-12
        larger = abs(distance - best) <= 1e-12 and width * height > chosen[0] * chosen[1]
        if fills and tight and (closer or larger):
            best, chosen = distance, (width, height)
    assert nearest_bucket(picture, bucket_sizes(64, 16)) == chosen
    assert Framing(64, 16).size(picture) == chosen


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("crop", ["centre", "random", "subject"])
@pytest.mark.parametrize("bucket_step", [None, 16])
def test_nothing_is_squashed_and_nothing_is_wasted(picture: tuple[int, int], crop: str, bucket_step: int | None):
    subject = (picture[0] * 0.6, picture[1] * 0.7, picture[0] * 0.9, picture[1])
    for view in Framing(64, bucket_step, crop).views(picture, subject, "<cat>", 3):
        left, top, right, bottom = view.box
        assert 0 <= left < right <= picture[0]
        assert 0 <= top < bottom <= picture[1]
        assert (right - left) / (bottom - top) == pytest.approx(view.size[0] / view.size[1])
        assert right - left == pytest.approx(picture[0]) or bottom - top == pytest.approx(picture[1])
        assert view.cut(noise(picture)).size == view.size


def test_largest_window() -> None:
    assert largest_window((300, 100), (64, 64)) == (100, 100)
    assert largest_window((300, 100), (96, 32)) == (300, 100)
    assert largest_window((100, 300), (96, 48)) == (100, 50)


def test_a_view_shows_what_it_says() -> None:
    """A picture at the size at which it is shown: a view is a cut-out, to the pixel."""
    image = noise((96, 64))
    view = View((20, 0, 84, 64), (64, 64))
    assert view.cut(image).tobytes() == image.crop((20, 0, 84, 64)).tobytes()
    for random in Framing(64, crop="random").views((96, 64), None, "<cat>", 0):
        box = tuple(map(int, random.box))
        assert box == random.box
        assert random.cut(image).tobytes() == image.crop(box).tobytes()


def test_random_crops() -> None:
    """They spread over the picture, and are functions of seed, token and number of the picture and nothing else."""
    framing = Framing(64, crop="random", crops=200, flip=True)
    views = framing.views((164, 64), None, "<cat>", 0)
    assert len(views) == 400
    for plain, mirrored in zip(views[::2], views[1::2], strict=True):
        assert mirrored == View(plain.box, plain.size, True)
    starts = np.array([view.box[0] for view in views[::2]])
    assert (starts.min(), starts.max()) == (pytest.approx(0, abs=3), pytest.approx(100, abs=3))
    assert starts.mean() == pytest.approx(50, abs=4.5 * 100 / math.sqrt(12 * 200))
    assert views == framing.views((164, 64), None, "<cat>", 0)
    first = Framing(64, crop="random", crops=5, flip=True).views((164, 64), None, "<cat>", 0)
    assert first == views[:10]
    for other in (
        framing.views((164, 64), None, "<dog>", 0),
        framing.views((164, 64), None, "<cat>", 1),
        Framing(64, crop="random", crops=200, flip=True, seed=1).views((164, 64), None, "<cat>", 0),
    ):
        assert np.corrcoef(starts, [view.box[0] for view in other[::2]])[0, 1] < 0.35


def test_random_crops_hold_the_middle_of_the_subject() -> None:
    subject = (120, 10, 160, 30)
    views = Framing(64, crop="random", crops=100).views((200, 64), subject, "<cat>", 0)
    starts = [view.box[0] for view in views]
    assert min(starts) >= 140 - 64
    assert max(starts) <= 200 - 64
    assert max(starts) - min(starts) > 50


@pytest.mark.parametrize(
    ("subject", "left"),
    [
        ((90, 0, 110, 64), 68),  # in the middle: 100 - 32
        ((0, 0, 20, 64), 0),  # at the left edge
        ((190, 0, 200, 64), 136),  # at the right edge
        ((40, 0, 160, 64), 68),  # wider than what is shown
    ],
)
def test_the_crop_around_the_subject(subject: tuple[int, int, int, int], left: int) -> None:
    (view,) = Framing(64, crop="subject").views((200, 64), subject, "<cat>", 0)
    assert view.box == (left, 0, left + 64, 64)
    box = subject_box(mask_of((200, 64), subject))
    assert Framing(64, crop="subject").views((200, 64), box, "<cat>", 0) == [view]


@pytest.mark.parametrize("seed", range(5))
def test_the_crop_around_the_subject_by_brute_force(seed: int) -> None:
    """Of all places the one nearest to the subject's middle; the whole subject is in it where that is possible."""
    draws = np.random.default_rng(seed)
    low, high = sorted(draws.integers(0, 150, 2).tolist())
    subject = (5, low, 40, high + 1)
    (view,) = Framing(32, crop="subject").views((50, 150), subject, "<cat>", 0)
    middle = (subject[1] + subject[3]) / 2
    best = min(abs(top / 10 + 25 - middle) for top in range(0, 1001))
    assert abs(view.box[1] + 25 - middle) == pytest.approx(best, abs=0.1)
    if high + 1 - low <= 50:
        assert view.box[1] <= low
        assert view.box[3] >= high + 1


def test_subject_box() -> None:
    assert subject_box(mask_of((30, 20), (4, 5, 17, 19))) == (4, 5, 17, 19)
    faint = Image.new("L", (30, 20), 90)
    assert subject_box(faint) is None
    faint.paste(128, (2, 3, 4, 5))
    assert subject_box(faint) == (2, 3, 4, 5)


def test_mask_weights() -> None:
    """Shares of area, cut and mirrored like the picture."""
    mask = mask_of((96, 64), (40, 0, 62, 20))
    view = View((16, 0, 80, 64), (64, 64))  # subject at 24 to 46
    weights = mask_weights(mask, view, 8, 0.1)
    assert weights.shape == (1, 8, 8)
    expected = torch.full((8, 8), 0.1)
    columns = torch.tensor([0, 0, 0, 1, 1, 0.75, 0, 0])
    rows = torch.tensor([1, 1, 0.5, 0, 0, 0, 0, 0])
    expected += 0.9 * rows[:, None] * columns
    torch.testing.assert_close(weights[0], expected)
    mirrored = mask_weights(mask, View(view.box, view.size, True), 8, 0.1)
    torch.testing.assert_close(mirrored[0], expected.flip(-1))
    large = mask_weights(mask.resize((960, 640), Image.Resampling.NEAREST), View((160, 0, 800, 640), (64, 64)), 8, 0.1)
    torch.testing.assert_close(large[0], expected)
    assert mask_weights(mask, view, 8, 1.0).unique().tolist() == [1]


@pytest.mark.parametrize("mirrored", [False, True])
def test_sizes(mirrored: bool) -> None:
    """The picture is shown at half its size: 100 x 60, of which 64 x 48 are seen."""
    view = View((20, 10, 148, 106), (64, 48), mirrored)
    assert view.sizes((200, 120)) == (120, 200, 5, 26 if mirrored else 10, 48, 64)


@pytest.mark.parametrize("picture", [(640, 480), (480, 640), (512, 512), (1920, 1080), (333, 777)])
def test_sizes_of_the_central_square(picture: tuple[int, int]) -> None:
    """As diffusers' SDXL training script has them: shorter side to the resolution, then a centre crop."""
    (view,) = Framing(512).views(picture, None, "<cat>", 0)
    scale = 512 / min(picture)
    top, left = (round((side * scale - 512) / 2) for side in (picture[1], picture[0]))
    assert view.sizes(picture) == (picture[1], picture[0], top, left, 512, 512)


def test_what_is_refused() -> None:
    with pytest.raises(BadInput, match="'center'; choose one of centre, random, subject"):
        check_crop("center")
    with pytest.raises(BadInput, match=r"resolution is 500.* multiple of 64, such as 512"):
        Framing(500, 64)
    assert Framing(500).size((10, 20)) == (500, 500)
