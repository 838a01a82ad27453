import hashlib
import random
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from ti_trainer.data import images
from ti_trainer.data.images import (
    Picture,
    Room,
    centre_square,
    check_size,
    decode,
    eight_bits,
    in_strips,
    on_ground,
    open_picture,
    read_image,
    to_pixels,
)
from ti_trainer.errors import BadInput

# EXIF 2.32, tag 274: what the 0th row and the 0th column of the file are in the picture, as an upright picture
# `u` of `h` x `w` pixels is stored at row r, column c.
STORED = {
    1: lambda u, h, w, r, c: u[r, c],  # top, left
    2: lambda u, h, w, r, c: u[r, w - 1 - c],  # top, right
    3: lambda u, h, w, r, c: u[h - 1 - r, w - 1 - c],  # bottom, right
    4: lambda u, h, w, r, c: u[h - 1 - r, c],  # bottom, left
    5: lambda u, h, w, r, c: u[c, r],  # left, top
    6: lambda u, h, w, r, c: u[c, w - 1 - r],  # right, top
    7: lambda u, h, w, r, c: u[h - 1 - c, w - 1 - r],  # right, bottom
    8: lambda u, h, w, r, c: u[h - 1 - c, r],  # left, bottom
}


def random_pixels(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def as_stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    h, w = upright.shape[:2]
    rows, columns = (h, w) if orientation < 5 else (w, h)
    return np.array([[STORED[orientation](upright, h, w, r, c) for c in range(columns)] for r in range(rows)])


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "jpg"])
def test_every_orientation_is_the_same_picture(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = random_pixels(2, 3).repeat(8, 0).repeat(8, 1)  # blocks of one colour, which JPEG keeps
    path = tmp_path / f"x.{suffix}"
    exif = Image.Exif()
    exif[274] = orientation
    how = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}.get(suffix, {})
    Image.fromarray(as_stored(upright, orientation)).save(path, exif=exif, **how)
    found = np.asarray(read_image(Picture.at(path))).astype(int)
    assert found.shape == (16, 24, 3)
    assert np.abs(found - upright).max() <= (3 if suffix == "jpg" else 0)


WHITE = (255, 255, 255)


def check(path: Path, expected: list, tolerance: int = 0) -> None:
    """expected: rows of (r, g, b)."""
    image = read_image(Picture.at(path))
    assert image.mode == "RGB"
    found = np.asarray(image).astype(int)
    assert found.shape == np.shape(expected)
    assert np.abs(found - np.array(expected)).max() <= tolerance


def test_transparent_parts_become_white(tmp_path: Path) -> None:
    pixels = np.array([[[10, 20, 30, 0], [10, 20, 30, 255], [0, 100, 200, 51]]], dtype=np.uint8)
    expected = [[WHITE, (10, 20, 30), (204, 224, 244)]]  # 51 / 255 is a fifth of the colour, four fifths of white
    for suffix in ("png", "tif"):
        Image.fromarray(pixels).save(tmp_path / f"x.{suffix}")
        check(tmp_path / f"x.{suffix}", expected, tolerance=1)
    Image.fromarray(pixels[..., [0, 3]]).save(tmp_path / "grey.png")  # LA
    check(tmp_path / "grey.png", [[WHITE, (10,) * 3, (204,) * 3]], tolerance=1)


def test_transparent_colour(tmp_path: Path) -> None:
    pixels = np.array([[[1, 2, 3], [9, 8, 7]]], dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png", transparency=(1, 2, 3))
    check(tmp_path / "x.png", [[WHITE, (9, 8, 7)]])
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png", transparency=9)
    check(tmp_path / "grey.png", [[(1, 1, 1), WHITE]])


def palette_picture(indices: list[int]) -> Image.Image:
    image = Image.new("P", (len(indices), 1))
    image.putpalette([0, 0, 0, 200, 0, 0, 0, 150, 0])
    image.putdata(indices)
    return image


def test_palette(tmp_path: Path) -> None:
    colours = [[(200, 0, 0), (0, 150, 0), (0, 0, 0)]]
    for suffix in ("png", "gif", "bmp"):
        palette_picture([1, 2, 0]).save(tmp_path / f"x.{suffix}")
        check(tmp_path / f"x.{suffix}", colours)
    palette_picture([1, 2, 0]).save(tmp_path / "one.png", transparency=2)
    check(tmp_path / "one.png", [[(200, 0, 0), WHITE, (0, 0, 0)]])
    palette_picture([1, 2, 0]).save(tmp_path / "many.png", transparency=bytes([0, 255, 51]))
    check(tmp_path / "many.png", [[(200, 0, 0), (204, 234, 204), WHITE]], tolerance=1)
    palette_picture([1, 2, 0]).save(tmp_path / "x.gif", transparency=1)
    check(tmp_path / "x.gif", [[WHITE, (0, 150, 0), (0, 0, 0)]])


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (2, 1), colour) for colour in ("red", "blue", "lime")]
    for suffix, how in (("gif", {}), ("png", {}), ("webp", {"lossless": True})):
        frames[0].save(tmp_path / f"x.{suffix}", save_all=True, append_images=frames[1:], **how)
        check(tmp_path / f"x.{suffix}", [[(255, 0, 0)] * 2])


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_one_bit(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(np.array([[True, False, True]])).save(tmp_path / f"x.{suffix}")
    check(tmp_path / f"x.{suffix}", [[WHITE, (0, 0, 0), WHITE]])


@pytest.mark.parametrize(("dtype", "suffix"), [("<u2", "png"), ("<u2", "tif"), (">u2", "tif"), ("<i4", "tif")], ids=str)
def test_sixteen_bits_of_grey(tmp_path: Path, dtype: str, suffix: str) -> None:
    """Scaled down, not cut off: 65535 is white and 32896 is half of it."""
    grey = np.array([[0, 257, 25_700, 32_896, 65_535]])
    Image.fromarray(grey.astype(dtype)).save(tmp_path / f"x.{suffix}")
    check(tmp_path / f"x.{suffix}", [[(value,) * 3 for value in (0, 1, 100, 128, 255)]])


def test_floating_point(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0.25, 0.5]], dtype=np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(BadInput, match=r"x\.tif holds floating-point numbers"):
        read_image(Picture.at(tmp_path / "x.tif"))


@pytest.mark.parametrize("suffix", ["tif", "jpg"])
def test_printing_colours(tmp_path: Path, suffix: str) -> None:
    """Cyan, magenta, yellow and black ink; JPEG stores them inverted."""
    inks = {(0, 255, 255, 0): (255, 0, 0), (255, 0, 0, 0): (0, 255, 255), (0, 0, 0, 255): (0, 0, 0), (0,) * 4: WHITE}
    pixels = np.array([list(inks)], dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    how = {"quality": 100, "subsampling": 0} if suffix == "jpg" else {}
    Image.fromarray(pixels, "CMYK").save(tmp_path / f"x.{suffix}", **how)
    expected = np.array([list(inks.values())]).repeat(8, 0).repeat(8, 1)
    check(tmp_path / f"x.{suffix}", expected.tolist(), tolerance=4)


def test_sixteen_bits_of_colour(tmp_path: Path) -> None:
    """A PNG by hand, since Pillow does not write such files: the high byte of each value counts."""
    values = np.array([[[0, 0x80FF, 0xFFFF], [0x1234, 0xFE00, 0x0100]]], dtype=">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    (tmp_path / "x.png").write_bytes(data)
    check(tmp_path / "x.png", [[(0, 0x80, 0xFF), (0x12, 0xFE, 0x01)]], tolerance=1)


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped_profile() -> bytes:
    """sRGB with the primaries of red and green exchanged: what it calls red is our green."""
    return srgb_profile().replace(b"rXYZ", b"_tmp").replace(b"gXYZ", b"rXYZ").replace(b"_tmp", b"gXYZ")


def inks_profile() -> bytes:
    """A printing profile of two grid points: any full ink is L* = 0, and no ink at all is white.

    ICC.1:2001-04, 6.5.8 lut8Type: 4 channels to 3, with Lab of 8 bits.
    """
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + struct.pack(">9i", *(0x10000 * (i % 4 == 0) for i in range(9)))
    lut += bytes(range(256)) * 4 + bytes([255, 128, 128]) + bytes([0, 128, 128]) * 15 + bytes(range(256)) * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    text = b"text" + bytes(4) + b"none\0\0\0\0"
    description = b"desc" + bytes(4) + struct.pack(">I", 2) + b"x\0" + bytes(4 + 4 + 2 + 1 + 67 + 3)
    tags = {b"desc": description, b"cprt": text, b"wtpt": white, b"A2B0": lut}
    table, body, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content
    size = start + len(body)
    header = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02400000, b"prtr", b"CMYK", b"Lab ") + bytes(12) + b"acsp"
    header += bytes(28) + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    return header.ljust(128, b"\0") + table + body


COLOURS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 200, 90], [128, 128, 128]]], dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_colour_profile(tmp_path: Path, suffix: str) -> None:
    how = {"lossless": True} if suffix == "webp" else {}
    for profile, expected in ((srgb_profile(), COLOURS), (swapped_profile(), COLOURS[..., [1, 0, 2]])):
        Image.fromarray(COLOURS).save(tmp_path / f"x.{suffix}", icc_profile=profile, **how)
        check(tmp_path / f"x.{suffix}", expected.tolist(), tolerance=1)


def test_colour_profile_of_a_picture_with_transparent_parts(tmp_path: Path) -> None:
    pixels = np.concatenate([COLOURS, np.array([[[255], [255], [255], [255], [0]]], dtype=np.uint8)], axis=2)
    Image.fromarray(pixels).save(tmp_path / "x.png", icc_profile=swapped_profile())
    check(tmp_path / "x.png", [[*map(tuple, COLOURS[0, :4, [1, 0, 2]].T.tolist()), WHITE]], tolerance=1)


def test_colour_profile_of_a_palette(tmp_path: Path) -> None:
    palette_picture([1, 2, 0]).save(tmp_path / "x.png", icc_profile=swapped_profile())
    check(tmp_path / "x.png", [[(0, 200, 0), (150, 0, 0), (0, 0, 0)]], tolerance=1)


def test_colour_profile_of_inks(tmp_path: Path) -> None:
    """The profile says what ink looks like: here cyan is black, where the usual formula makes it (0, 255, 255)."""
    pixels = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255]]], dtype=np.uint8)
    Image.fromarray(pixels, "CMYK").save(tmp_path / "x.tif", icc_profile=inks_profile())
    check(tmp_path / "x.tif", [[WHITE, (0, 0, 0), (0, 0, 0)]], tolerance=2)
    Image.fromarray(pixels, "CMYK").save(tmp_path / "plain.tif")
    check(tmp_path / "plain.tif", [[WHITE, (0, 255, 255), (0, 0, 0)]])


def test_profile_that_does_not_fit(tmp_path: Path) -> None:
    """Ignored: grey with a profile for inks, and bytes that are no profile."""
    Image.fromarray(np.array([[7, 200]], dtype=np.uint8)).save(tmp_path / "x.png", icc_profile=inks_profile())
    for profile, note in ((inks_profile(), "CMYK colour profile does not fit"), (b"nonsense", "is damaged")):
        Image.fromarray(np.array([[7, 200]], dtype=np.uint8)).save(tmp_path / "x.png", icc_profile=profile)
        check(tmp_path / "x.png", [[(7,) * 3, (200,) * 3]])
        (found,) = decode(Picture.at(tmp_path / "x.png")).notes
        assert str(tmp_path / "x.png") in found
        assert note in found


def test_colour_behind_transparent_parts(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[9, 9, 9, 0], [0, 100, 200, 51]]], dtype=np.uint8)).save(tmp_path / "x.png")
    for colour, expected in (("black", [(0, 0, 0), (0, 20, 40)]), ("#ff8000", [(255, 128, 0), (204, 122, 40)])):
        found = np.asarray(read_image(Picture.at(tmp_path / "x.png"), colour)).astype(int)
        assert np.abs(found - np.array([expected])).max() <= 1


@pytest.mark.parametrize("orientation", STORED)
def test_small_decoding_knows_the_whole_picture(tmp_path: Path, orientation: int) -> None:
    """Upright, with the size of the whole, and the same colours to a few levels; damage is found all the same."""
    upright = random_pixels(2, 3).repeat(128, 0).repeat(128, 1)
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / "x.jpg"
    Image.fromarray(as_stored(upright, orientation)).save(path, exif=exif, quality=95, subsampling=0)
    small = decode(Picture.at(path), at_least=32)
    assert small.size == (384, 256)
    assert small.image.size == (48, 32)  # an eighth
    found = np.asarray(small.image.resize((3, 2), Image.Resampling.BOX)).astype(int)
    assert np.abs(found - random_pixels(2, 3)).max() <= 4
    assert small.digest == hashlib.sha256(path.read_bytes()).digest()
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(BadInput, match=r"x\.jpg is damaged"):
        decode(Picture.at(path), at_least=32)


def test_bytes_that_may_not_be_read() -> None:
    def refuse() -> bytes:
        raise PermissionError(13, "Permission denied")

    with pytest.raises(BadInput, match=r"^x\.png cannot be read: Permission denied$"):
        read_image(Picture("x.png", refuse))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.png", b"a text file with another name\n", "is not a picture"),
        ("x.jpg", b"", "is not a picture"),
        ("x.png", b"\x89PNG\r\n\x1a\n", "is not a picture"),
        ("nowhere.png", None, "cannot be read"),
    ],
)
def test_files_that_are_no_pictures(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput) as refusal:
        read_image(Picture.at(path))
    assert message in str(refusal.value)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp"])
def test_truncated(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"half.{suffix}"
    Image.fromarray(random_pixels(64, 64)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadInput) as refusal:
        read_image(Picture.at(path))
    assert str(path) in str(refusal.value)


def test_more_pixels_than_memory_holds(tmp_path: Path) -> None:
    """A file of a few bytes that claims to be 65,535 pixels square."""
    Image.new("1", (1, 1)).save(tmp_path / "x.gif")
    data = bytearray((tmp_path / "x.gif").read_bytes())
    data[6:10] = b"\xff" * 4
    (tmp_path / "x.gif").write_bytes(data)
    with pytest.raises(BadInput, match=r"x\.gif.*4294836225 pixels"):
        read_image(Picture.at(tmp_path / "x.gif"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tif", "gif", "avif"])
def test_damaged_files_are_read_or_named(tmp_path: Path, suffix: str) -> None:
    """Cut short or with a few bytes changed: Pillow's decoders fail in many ways, and none may come through."""
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(random_pixels(12, 12)).save(path)
    whole, draws = path.read_bytes(), random.Random(0)
    refusals: list[str] = []
    for attempt in range(60):
        damaged = bytearray(whole[: draws.randrange(len(whole))] if attempt % 3 == 0 else whole)
        for _ in range(0 if attempt % 3 == 0 else draws.randint(1, 5)):
            damaged[draws.randrange(min(len(damaged), 200))] = draws.randrange(256)
        path.write_bytes(damaged)
        try:
            assert read_image(Picture.at(path)).mode == "RGB"
        except BadInput as refusal:
            refusals.append(str(refusal))
    assert len(refusals) > 5
    assert all(str(path) in refusal for refusal in refusals)


@pytest.mark.parametrize(("width", "height", "box"), [(30, 10, (10, 0, 20, 10)), (10, 30, (0, 10, 10, 20))])
def test_square_is_cut_from_the_middle_and_not_squashed(width: int, height: int, box: tuple) -> None:
    image = Image.fromarray(random_pixels(height, width))
    square = image.crop(box)
    assert np.array_equal(np.asarray(centre_square(image, 10)), np.asarray(square))
    for size in (5, 16):
        expected = image.resize((size, size), Image.Resampling.LANCZOS, box=box)
        assert np.array_equal(np.asarray(centre_square(image, size)), np.asarray(expected))


def test_circle_stays_round() -> None:
    """A disc in a wide picture is as wide as it is high after cutting and enlarging."""
    rows, columns = np.mgrid[:60, :200]
    disc = ((rows - 29.5) ** 2 + (columns - 99.5) ** 2 < 20**2) * 255
    found = np.asarray(centre_square(Image.fromarray(disc.astype(np.uint8)).convert("RGB"), 96))[..., 0] > 127
    wide, high = found.any(0).sum(), found.any(1).sum()
    assert wide == high
    assert abs(wide - 40 * 96 / 60) <= 1


def test_pixels() -> None:
    image = Image.fromarray(np.array([[[0, 51, 255], [255, 102, 0]]], dtype=np.uint8))
    expected = torch.tensor([[[-1.0, 1.0]], [[-0.6, -0.2]], [[1.0, -1.0]]])
    torch.testing.assert_close(to_pixels(image), expected)


def test_strips_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same levels as in one piece, whatever the height of the last strip."""
    pixels = random_pixels(37, 10, 4)
    monkeypatch.setattr("ti_trainer.data.images.STRIP", 80)
    ground = Image.new("RGBA", (10, 37), "#123456")
    ground.alpha_composite(Image.fromarray(pixels))
    assert np.array_equal(np.asarray(on_ground(Image.fromarray(pixels), "#123456")), np.asarray(ground.convert("RGB")))
    grey = np.random.default_rng(0).integers(0, 65_536, (37, 10)).astype(np.uint16)
    found = in_strips(Image.fromarray(grey), "L", eight_bits)
    assert np.array_equal(np.asarray(found), (grey / 257).round())


def test_sizes_that_cameras_make_and_others() -> None:
    for size in ((12_000, 9_000), (8_742, 11_656), (65_535, 1_800)):
        check_size(size, "x")
    with pytest.raises(BadInput, match=r"^x is 13,300 x 13,300, more than 120,000,000 pixels; scale it down$"):
        check_size((13_300, 13_300), "x")
    with pytest.raises(BadInput, match=r"^x is 24 x 4,194,324, and a side has at most 65,535 pixels; cut it up$"):
        check_size((24, 4_194_324), "x")


def test_header_tells_what_decoding_tells(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(random_pixels(300, 200)).save(tmp_path / "x.jpg", exif=exif)
    opened = open_picture(Picture.at(tmp_path / "x.jpg"), at_least=64)
    assert (opened.size, opened.orientation, opened.pixels) == ((300, 200), 6, 100 * 150)
    assert opened.decode().size == (300, 200)
    assert open_picture(Picture.at(tmp_path / "x.jpg")).pixels == 300 * 200


def test_room() -> None:
    """Ten threads with pictures of up to 60 pixels in a room of 100: never more, and in the end nothing."""
    room = Room(100)
    seen: list[int] = []

    def hold(pixels: int) -> None:
        with room.take(pixels):
            seen.append(room.taken)

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(hold, [random.Random(n).randrange(1, 60) for n in range(500)]))
    assert max(seen) <= 100
    assert room.taken == 0
    with room.take(1_000):  # alone, more than there is room for
        assert room.taken == 1_000
    with pytest.raises(KeyError), room.take(5):
        raise KeyError
    assert room.taken == 0


def heic_picture(file: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    levels = np.zeros((48, 64, 3), np.uint8)
    levels[:, :32] = (220, 30, 30)
    pillow_heif.from_pillow(Image.fromarray(levels)).save(file, quality=95)


def test_heic(tmp_path: Path) -> None:
    """Pictures of phones, with the extra."""
    heic_picture(tmp_path / "x.heic")
    decoded = decode(Picture.at(tmp_path / "x.heic"))
    assert decoded.size == (64, 48)
    shown = np.asarray(decoded.image).astype(int)
    assert np.abs(shown[24, 8] - (220, 30, 30)).max() < 12
    assert shown[24, 56].max() < 12


def test_heic_of_too_many_pixels_is_refused_by_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any is decoded."""
    heic_picture(tmp_path / "x.heic")
    monkeypatch.setattr(images, "MOST_PIXELS", 64 * 48 - 1)
    with pytest.raises(BadInput, match=r"x\.heic is 64 x 48, more than 3,071 pixels"):
        open_picture(Picture.at(tmp_path / "x.heic"))


def test_heic_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heic_picture(tmp_path / "x.heic")
    monkeypatch.setattr(images, "readable_formats", lambda: ["JPEG", "PNG"])
    with pytest.raises(BadInput, match=r"x.heic is a HEIC picture, which needs a package: pip install pillow-heif"):
        decode(Picture.at(tmp_path / "x.heic"))
