from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ti_trainer.config.concept import Bounds, Concept
from ti_trainer.data.captions import TEMPLATES
from ti_trainer.data.images import Room
from ti_trainer.data.scanning import load_examples, scan
from ti_trainer.data.sources.folders import find_pictures
from ti_trainer.errors import BadInput, Refused


def cat(folder: Path, **settings: Any) -> Concept:
    return Concept("<cat>", str(folder), **settings)


def save(folder: Path, *names: str, size: tuple[int, int] = (6, 4)) -> None:
    for name in names:
        Image.new("RGB", size, "red").save(folder / name)


def test_pictures_are_found_by_their_names(tmp_path: Path) -> None:
    save(tmp_path, "b.png", "a.JPG", "c.Webp", "d.jpeg", "e.bmp", "f.gif", "g.tiff", ".hidden.png")
    for other in (".DS_Store", "Thumbs.db", "a.txt", "notes.md", "._b.png", "x.safetensors", "desktop.ini", "png"):
        (tmp_path / other).write_bytes(b"x")
    (tmp_path / "sub").mkdir()
    save(tmp_path / "sub", "h.png")
    names = [found.place.as_posix() for found in find_pictures(str(tmp_path)).found]
    assert names == ["a.JPG", "b.png", "c.Webp", "d.jpeg", "e.bmp", "f.gif", "g.tiff", "sub/h.png"]


def test_folders_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match='nowhere" does not exist'):
        find_pictures(str(tmp_path / "nowhere"))
    (tmp_path / ".DS_Store").write_bytes(b"x")
    with pytest.raises(BadInput, match="holds no pictures"):
        find_pictures(str(tmp_path))
    save(tmp_path, "a.png")
    with pytest.raises(BadInput, match=r"a\.png\" is not a folder"):
        find_pictures(str(tmp_path / "a.png"))


def test_examples(tmp_path: Path) -> None:
    save(tmp_path, "a.png", "b.v2.jpg")
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (8, 5)).save(tmp_path / "c.png", exif=exif)  # lies on its side
    (tmp_path / "b.v2.txt").write_bytes("\ufeff  a {token},\r\n on ümläut grass \n\n".encode())
    (tmp_path / "b.txt").write_text("not the caption of b.v2.jpg", encoding="utf-8")
    examples, notes = load_examples(cat(tmp_path), skip_bad_images=False)
    assert notes == [
        f"{tmp_path / 'a.png'}, {tmp_path / 'b.v2.jpg'} look alike and count 2 times; keep the best one",
        f"text files that belong to no picture: {tmp_path / 'b.txt'}",
        f"blank; leave them out: {tmp_path / 'a.png'}, {tmp_path / 'b.v2.jpg'}, {tmp_path / 'c.png'}",
    ]
    assert [Path(example.picture.name).name for example in examples] == ["a.png", "b.v2.jpg", "c.png"]
    assert [example.size for example in examples] == [(6, 4), (6, 4), (5, 8)]
    assert examples[0].captions == TEMPLATES["object"]
    assert examples[1].captions == ("a {token}, on ümläut grass",)


def test_templates_of_the_concept(tmp_path: Path) -> None:
    save(tmp_path, "a.png")
    (tmp_path / "mine.txt").write_text("{token} one\n{token} two\n", encoding="utf-8")
    for templates, expected in (
        ("style", TEMPLATES["style"]),
        (str(tmp_path / "mine.txt"), ("{token} one", "{token} two")),
    ):
        (example,) = load_examples(cat(tmp_path, templates=templates), False)[0]
        assert example.captions == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\t\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        ("kätzchen".encode("latin-1"), "UTF-8"),
    ],
)
def test_captions_that_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    save(tmp_path, "a.png")
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(BadInput) as refusal:
        load_examples(cat(tmp_path), skip_bad_images=True)
    assert message in str(refusal.value)
    assert str(tmp_path / "a.txt") in str(refusal.value)


def test_damaged_pictures_are_named_all_at_once(tmp_path: Path) -> None:
    save(tmp_path, "a.jpg", "b.jpg", size=(64, 64))
    Image.new("RGB", (64, 64), "blue").save(tmp_path / "c.jpg")
    (tmp_path / "b.jpg").write_bytes((tmp_path / "b.jpg").read_bytes()[:300])
    (tmp_path / "d.png").write_text("no picture", encoding="utf-8")
    (tmp_path / "b.txt").write_bytes(b"\xff")  # the caption of a picture that is left out does not matter
    with pytest.raises(BadInput) as refusal:
        load_examples(cat(tmp_path), skip_bad_images=False)
    first, second, cure = str(refusal.value).splitlines()
    assert str(tmp_path / "b.jpg") in first
    assert str(tmp_path / "d.png") in second
    assert "skip_bad_images=True" in cure
    examples, notes = load_examples(cat(tmp_path), skip_bad_images=True)
    assert [Path(example.picture.name).name for example in examples] == ["a.jpg", "c.jpg"]
    assert notes[:-1] == [f"left out: {first}", f"left out: {second}"]
    assert notes[-1] == f"blank; leave them out: {tmp_path / 'a.jpg'}, {tmp_path / 'c.jpg'}"


@pytest.mark.parametrize("skip", [False, True])
def test_nothing_but_damaged_pictures(tmp_path: Path, skip: bool) -> None:
    (tmp_path / "d.png").write_text("no picture", encoding="utf-8")
    with pytest.raises(BadInput, match="not one picture can be used"):
        load_examples(cat(tmp_path), skip_bad_images=skip)


def test_pictures_wait_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures and masks that are each larger than the room are decoded one after the other, and all are read."""
    for number in range(6):
        pixels = np.random.default_rng(number).integers(1, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(tmp_path / f"{number}.mask.png")
    seen: list[int] = []

    class WatchedRoom(Room):
        @contextmanager
        def take(self, pixels: int) -> Iterator[None]:
            with super().take(pixels):
                seen.append(self.taken)
                yield

    room = WatchedRoom(100)
    monkeypatch.setattr("ti_trainer.data.scanning.ROOM", room)
    monkeypatch.setattr("ti_trainer.data.masks.ROOM", room)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    result = scan(Concept("<cat>", str(tmp_path)))
    assert [example.mask is not None for example in result.examples] == [True] * 6
    assert seen == [1_600] * 12
    assert room.taken == 0


def test_long_captions_are_named(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    (tmp_path / "x.txt").write_text("a " * 6_000)
    result = scan(Concept("<cat>", str(tmp_path)))
    assert result.bad_captions == [f"{tmp_path}/x.txt: a caption has 11,999 letters, and at most 10,000; shorten it"]
    (tmp_path / "x.txt").unlink()
    (tmp_path / "metadata.jsonl").write_text(f'{{"file_name": "x.png", "text": "{"a" * 10_001}"}}')
    result = scan(Concept("<cat>", str(tmp_path)))
    assert result.bad_captions == [f"{tmp_path}/x.png: a caption has 10,001 letters, and at most 10,000; shorten it"]


def test_more_than_a_row_may_have(tmp_path: Path) -> None:
    """Pictures by their number and, one by one, by their pixels."""
    for number in range(3):
        Image.new("RGB", (40, 30 + number), "red").save(tmp_path / f"{number}.png")
    concept = Concept("<a>", str(tmp_path), bounds=Bounds(pictures=2))
    with pytest.raises(Refused, match="images has 3 pictures, and a row of a list may have 2"):
        load_examples(concept, False)
    concept = replace(concept, bounds=Bounds(pictures=3, pixels=40 * 31))
    with pytest.raises(BadInput, match=r"2\.png has 1,280 pixels, and a row of a list may have 1,240"):
        load_examples(concept, False)
    examples, notes = load_examples(concept, True)
    assert len(examples) == 2
    assert "1,280 pixels" in notes[0]
