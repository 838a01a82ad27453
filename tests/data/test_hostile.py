"""What people's folders hold: every case is refused, or noted, or read as it should be; each line names the file."""

from __future__ import annotations

import io
import json
import os
import struct
import unicodedata
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ti_trainer.config.concept import Concept
from ti_trainer.data.scanning import load_examples
from ti_trainer.errors import BadInput
from ti_trainer.files.reading import PICTURE


@dataclass
class Folder:
    """A folder of pictures with one good one, into which a case puts its trouble."""

    path: Path
    settings: dict[str, Any] = field(default_factory=dict)

    def picture(self, name: str, size: tuple[int, int] = (32, 24), seed: int = 1, **how: Any) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        draws = np.random.default_rng([seed, *name.encode("utf-8", "surrogateescape")])
        pixels = draws.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(file, **how)
        return file

    def mask(self, name: str, size: tuple[int, int] = (32, 24), level: int = 255) -> None:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", size, level).save(self.path / name)

    def text(self, name: str, content: str | bytes) -> None:
        (self.path / name).write_bytes(content.encode() if isinstance(content, str) else content)

    def spoil(self, name: str, change: Callable[[bytes], bytes], **how: Any) -> None:
        file = self.picture(name, **how)
        file.write_bytes(change(file.read_bytes()))


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def png_bomb(side: int = 60_000) -> bytes:
    """A PNG of some bytes that claims 3,600 million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def png_text_bomb(data: bytes) -> bytes:
    """A picture whose comment unpacks to 100 MB."""
    text = b"Comment\0\0" + zlib.compress(b"\0" * 100_000_000, 1)
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    return data[:33] + chunk + data[33:]  # after IHDR


def sparse_giant(folder: Folder) -> None:
    with (folder.path / "x.png").open("wb") as file:
        file.truncate(PICTURE.most + 1)


def zero_bytes(folder: Folder) -> None:
    folder.text("x.jpg", b"")


def list_of(folder: Folder, *lines: object, name: str = "metadata.jsonl") -> None:
    folder.text(name, "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))


# name -> what it does to the folder, and a text that the refusal has to contain
REFUSED: dict[str, tuple[Callable[[Folder], object], str]] = {
    "truncated jpeg": (lambda f: f.spoil("x.jpg", half, size=(200, 200)), "x.jpg is damaged"),
    "truncated png": (lambda f: f.spoil("x.png", half, size=(200, 200)), "x.png is damaged"),
    "truncated webp": (lambda f: f.spoil("x.webp", half, size=(200, 200)), "x.webp is"),
    "truncated avif": (lambda f: f.spoil("x.avif", half, size=(200, 200)), "x.avif is"),
    "zero bytes": (zero_bytes, "x.jpg is not a picture"),
    "text with a picture's name": (lambda f: f.text("x.png", "Dear cat,"), "x.png is not a picture"),
    "html instead of a download": (lambda f: f.text("x.jpg", "<!doctype html><html>"), "x.jpg is not a picture"),
    "vector graphics": (
        lambda f: f.text("x.png", '<svg xmlns="http://www.w3.org/2000/svg"/>'),
        "x.png is not a picture",
    ),
    "postscript, which Pillow would run": (
        lambda f: f.text("x.jpg", "%!PS-Adobe-3.0 EPSF-3.0\n"),
        "x.jpg is not a picture",
    ),
    "decompression bomb": (lambda f: f.text("x.png", png_bomb()), "x.png is too large"),
    "bomb in a comment": (lambda f: f.spoil("x.png", png_text_bomb), "x.png is damaged"),
    "giant file": (sparse_giant, "x.png has 419,430,401 bytes, and a picture has at most"),
    "link to nowhere": (lambda f: (f.path / "x.png").symlink_to("gone.png"), "x.png cannot be read: No such file"),
    "link to itself": (lambda f: (f.path / "x.png").symlink_to("x.png"), "x.png cannot be read"),
    "pipe": (lambda f: os.mkfifo(f.path / "x.png"), "x.png is not a file but a pipe"),
    "device": (lambda f: (f.path / "x.png").symlink_to("/dev/zero"), "x.png is not a file but a device"),
    "damaged picture with a line break in its name": (lambda f: f.text("x\ny.png", b""), "x\\ny.png is not a picture"),
    "damaged picture whose name is no text": (lambda f: f.text(os.fsdecode(b"x\xff.png"), b""), "x\\udcff.png is not"),
    "floating-point pixels": (
        lambda f: Image.fromarray(np.ones((4, 4), np.float32)).save(f.path / "x.tif"),
        "x.tif holds floating-point",
    ),
    "caption of zero bytes": (lambda f: (f.picture("x.png"), f.text("x.txt", b"")), "x.txt is empty"),
    "caption of a byte order mark": (lambda f: (f.picture("x.png"), f.text("x.txt", b"\xff\xfe")), "x.txt is empty"),
    "caption in Latin-1": (
        lambda f: (f.picture("x.png"), f.text("x.txt", b"k\xe4tzchen")),
        "x.txt cannot be read as UTF-8",
    ),
    "caption in UTF-16 without its mark": (
        lambda f: (f.picture("x.png"), f.text("x.txt", "a {token}".encode("utf-16-le"))),
        "x.txt cannot be read as UTF-8",
    ),
    "caption in UTF-32": (
        lambda f: (f.picture("x.png"), f.text("x.txt", "a {token}".encode("utf-32"))),
        "x.txt cannot be read as UTF-8",
    ),
    "black mask": (lambda f: (f.picture("x.png"), f.mask("x.mask.png", level=0)), "x.mask.png: the mask is black"),
    "mask of zeros and ones": (lambda f: (f.picture("x.png"), f.mask("x.mask.png", level=1)), "brightest value is 1"),
    "mask of another shape": (
        lambda f: (f.picture("x.png"), f.mask("x.mask.png", (24, 24))),
        "x.mask.png is 24 x 24 and its picture 32 x 24",
    ),
    "damaged mask": (lambda f: (f.picture("x.png"), f.text("x.mask.png", b"no")), "x.mask.png is not a picture"),
    "masks for nothing": (lambda f: (f.mask("masks/z.png"), f.settings.update(masks=str(f.path / "masks"))), "not one"),
    "folder of masks that is not there": (lambda f: f.settings.update(masks="gone"), "masks is 'gone'"),
    "masks in the folder of the pictures": (
        lambda f: f.settings.update(masks=str(f.path)),
        "is the folder of the pict",
    ),
    "alpha masks where nothing is transparent": (lambda f: f.settings.update(masks="alpha"), 'masks="alpha": not one'),
    "list that is no json": (
        lambda f: list_of(f, {"file_name": "good.png"}, "{oops"),
        "metadata.jsonl, line 2 is not JSON",
    ),
    "list of numbers": (lambda f: list_of(f, "5"), "metadata.jsonl, line 1 is not JSON"),
    "list nested a million deep": (lambda f: list_of(f, "[" * 100_000), "metadata.jsonl, line 1 is not JSON"),
    "list without pictures": (lambda f: list_of(f, {"text": "a"}), "metadata.jsonl has no column of pictures"),
    "line without a picture": (
        lambda f: list_of(f, {"file_name": "good.png"}, {"text": "a"}),
        "metadata.jsonl, line 2: 'file_name' holds no name",
    ),
    "list of a lost picture": (lambda f: list_of(f, {"file_name": "lost.png", "text": "a"}), "lost.png; correct it"),
    "caption that is a number": (
        lambda f: list_of(f, {"file_name": "good.png", "text": 5}),
        "line 1: the caption is no text",
    ),
    "empty caption in a list": (
        lambda f: list_of(f, {"file_name": "good.png", "text": " "}),
        "line 1: the caption is empty",
    ),
    "column that is not there": (
        lambda f: (list_of(f, {"file_name": "good.png", "text": "a"}), f.settings.update(caption_column="titel")),
        "caption_column is 'titel', and",
    ),
    "list in Latin-1": (
        lambda f: f.text("metadata.csv", b"file_name,text\ngood.png,k\xe4tzchen\n"),
        "metadata.csv cannot be",
    ),
    "comma in a csv caption": (
        lambda f: f.text("metadata.csv", "file_name,text\ngood.png,a {token}, red\n"),
        "metadata.csv, line 2 has another number of columns",
    ),
    "two csv columns of one name": (
        lambda f: f.text("metadata.csv", "file_name,text,text\ngood.png,a,b\n"),
        "metadata.csv, line 1 has more than one column called text",
    ),
    "two lists": (
        lambda f: (f.text("metadata.csv", "file_name\n"), list_of(f, {"file_name": "good.png"})),
        "metadata.jsonl and metadata.csv",
    ),
    "colour that is none": (lambda f: f.settings.update(alpha_color="whitish"), "alpha_color is 'whitish'"),
    "colour that is transparent": (
        lambda f: f.settings.update(alpha_color="#ffffff80"),
        "alpha_color is '#ffffff80'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str) -> None:
    """A BadInput whose lines are lines, that says which file, and that other pictures do not hide."""
    folder = Folder(tmp_path)
    folder.picture("good.png")
    spoil, wanted = REFUSED[case]
    spoil(folder)
    with pytest.raises(BadInput) as refusal:
        load_examples(Concept("<cat>", str(tmp_path), **folder.settings), skip_bad_images=False)
    assert wanted in str(refusal.value)
    assert all(line.isprintable() for line in str(refusal.value).split("\n"))


def animation(folder: Folder) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(folder.path / "x.gif", save_all=True, append_images=frames[1:])


def broken_profile(folder: Folder) -> None:
    folder.picture("x.jpg", icc_profile=b"no profile at all" * 20)


def profile_of_another_kind(folder: Folder) -> None:
    profile = bytearray(sRGB_profile())
    profile[16:20] = b"CMYK"
    folder.picture("x.png", icc_profile=bytes(profile))


def sRGB_profile() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def broken_exif(folder: Folder) -> None:
    folder.picture("x.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")


def odd_orientation(folder: Folder) -> None:
    exif = Image.Exif()
    exif[274] = 99
    folder.picture("x.jpg", exif=exif)


def folder_loop(folder: Folder) -> None:
    folder.picture("sub/x.png")
    (folder.path / "sub" / "up").symlink_to(folder.path, target_is_directory=True)


# name -> what it does to the folder, the pictures that are read, in order, and a text that some note has to contain
READ: dict[str, tuple[Callable[[Folder], object], list[str], str]] = {
    "jpeg called png": (lambda f: f.picture("x.jpg").rename(f.path / "x.png"), ["good.png", "x.png"], ""),
    "png called jpg": (lambda f: f.picture("x.png").rename(f.path / "x.jpg"), ["good.png", "x.jpg"], ""),
    "animation": (animation, ["good.png", "x.gif"], "x.gif has several pictures"),
    "broken colour profile": (broken_profile, ["good.png", "x.jpg"], "x.jpg: its colour profile is damaged"),
    "profile for other inks": (profile_of_another_kind, ["good.png", "x.png"], "x.png: its"),
    "broken EXIF": (broken_exif, ["good.png", "x.jpg"], ""),
    "orientation 99": (odd_orientation, ["good.png", "x.jpg"], ""),
    "one pixel": (lambda f: f.picture("x.png", (1, 1)), ["good.png", "x.png"], "blank; leave them out: "),
    "files of the system": (
        lambda f: [f.text(name, b"x") for name in (".DS_Store", "Thumbs.db", "._x.png", ".x.jpg", "desktop.ini")],
        ["good.png"],
        "",
    ),
    "folders of the system": (lambda f: (f.picture("__MACOSX/x.png"), f.picture(".git/y.png")), ["good.png"], ""),
    "formats that are not read": (lambda f: f.text("x.PSD", b"x"), ["good.png"], "x.PSD; save them as JPEG"),
    "text that belongs to nothing": (lambda f: f.text("x.txt", "a {token}"), ["good.png"], "no picture: "),
    "folder with a caption's name": (lambda f: (f.path / "good.txt").mkdir(), ["good.png"], ""),
    "folders in a circle": (folder_loop, ["good.png", "sub/x.png"], ""),
    "folder with a picture's name": (lambda f: f.picture("x.png/y.png"), ["good.png", "x.png/y.png"], ""),
    "names in all scripts": (lambda f: f.picture("кот 猫 🐈.png"), ["good.png", "кот 猫 🐈.png"], ""),
    "name with a line break": (lambda f: f.picture("x\ny.png"), ["good.png", "x\ny.png"], ""),
    "ten times": (lambda f: f.picture("10_cat/x.png"), ["good.png", "10_cat/x.png"], "10_cat count 10 times"),
    "a year is no number of repeats": (lambda f: f.picture("2024_spain/x.png"), ["good.png", "2024_spain/x.png"], ""),
    "mask of another size": (
        lambda f: (f.picture("x.png"), f.mask("x.mask.png", (64, 48))),
        ["good.png", "x.png"],
        "x.mask.png is 64 x 48 and will be scaled to 32 x 24",
    ),
    "some masks in a folder of their own": (
        lambda f: (f.picture("x.png"), f.mask("masks/x.png"), f.settings.update(masks=str(f.path / "masks"))),
        ["good.png", "x.png"],
        "good.png: learned whole",
    ),
    "caption beside a list with another": (
        lambda f: (list_of(f, {"file_name": "good.png", "text": "a {token}"}), f.text("good.txt", "the {token}")),
        ["good.png"],
        "good.txt",
    ),
    "list of a picture in another folder": (
        lambda f: (f.picture("sub/x.png"), list_of(f, {"file_name": "../good.png"}, name="sub/metadata.jsonl")),
        ["good.png", "sub/x.png"],
        "",
    ),
    "the same picture twice": (
        lambda f: f.text("x.png", (f.path / "good.png").read_bytes()),
        ["good.png", "x.png"],
        "are the same picture and count 2 times",
    ),
    "the same picture saved again, smaller": (
        lambda f: Image.open(f.path / "good.png").resize((24, 18)).save(f.path / "x.jpg", quality=80),
        ["good.png", "x.jpg"],
        "look alike",
    ),
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("case", READ)
def test_read(tmp_path: Path, case: str) -> None:
    """Read as it should be, with a note where a person would want one and no note where not."""
    folder = Folder(tmp_path)
    folder.picture("good.png")
    prepare, wanted, note = READ[case]
    prepare(folder)
    examples, notes = load_examples(Concept("<cat>", str(tmp_path), **folder.settings), skip_bad_images=False)
    names = [example.picture.name for example in examples]
    assert names == [str(tmp_path / name).replace("\n", "\\n") for name in wanted]
    assert any(note in line for line in notes) if note else notes == []
    assert all(line.isprintable() for line in notes)


def test_repeats(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    names = ("a.png", "10_cat/b.png", "10_cat/more/c.png", "3_dog/d.png", "2024_x/e.png", "0_none/f.png", "x_5_y/g.png")
    for name in names:
        folder.picture(name)
    examples, _ = load_examples(Concept("<cat>", str(tmp_path)), False)
    found = {str(Path(each.picture.name).relative_to(tmp_path)): each.repeats for each in examples}
    assert found == dict(zip(names, (1, 10, 10, 3, 1, 1, 1), strict=True))


def test_accents_of_another_computer(tmp_path: Path) -> None:
    """macOS writes "é" as two letters; captions, masks and lists of another system mean the same file."""
    folder = Folder(tmp_path)
    folder.picture(unicodedata.normalize("NFD", "café.png"))
    folder.text(unicodedata.normalize("NFC", "café.txt"), "le {token}")
    folder.mask(unicodedata.normalize("NFC", "café.mask.png"))
    folder.picture(unicodedata.normalize("NFD", "thé.png"))
    list_of(folder, {"file_name": unicodedata.normalize("NFC", "thé.png"), "text": "un {token}"})
    examples, notes = load_examples(Concept("<cat>", str(tmp_path)), False)
    assert [example.captions for example in examples] == [("le {token}",), ("un {token}",)]
    assert [example.mask is not None for example in examples] == [True, False]
    assert notes == []


def test_captions_in_every_encoding_that_says_what_it_is(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    text = "a {token}, кот 猫"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        folder.picture(f"{encoding}.png")
        folder.text(f"{encoding}.txt", text.encode(encoding))
    folder.picture("big-endian.png")
    folder.text("big-endian.txt", b"\xfe\xff" + text.encode("utf-16-be"))
    examples, _ = load_examples(Concept("<cat>", str(tmp_path)), False)
    assert [example.captions for example in examples] == [(text,)] * 4


def test_all_problems_at_once_and_not_a_thousand_lines(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.picture("good.png")
    for number in range(25):
        folder.text(f"{number:02}.png", b"")
    with pytest.raises(BadInput) as refusal:
        load_examples(Concept("<cat>", str(tmp_path)), False)
    lines = str(refusal.value).splitlines()
    assert [Path(line.split()[0]).name for line in lines[:10]] == [f"{number:02}.png" for number in range(10)]
    assert lines[10].startswith("... and 15 more")
    assert len(lines) == 12
    examples, notes = load_examples(Concept("<cat>", str(tmp_path)), True)
    assert len(examples) == 1
    assert len(notes) == 11


def test_picture_from_a_camera_with_several_in_it(tmp_path: Path) -> None:
    """MPO, which phones write with the ending jpg: the first picture, and no note about it."""
    frames = [Image.linear_gradient("L").convert("RGB").resize((16, 8)), Image.new("RGB", (16, 8), "blue")]
    data = io.BytesIO()
    frames[0].save(data, "MPO", save_all=True, append_images=frames[1:])
    (tmp_path / "x.jpg").write_bytes(data.getvalue())
    (example,), notes = load_examples(Concept("<cat>", str(tmp_path)), False)
    assert (example.size, notes) == ((16, 8), [])
