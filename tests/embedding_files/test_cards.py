"""Picture cards, compared with A1111's layout as a plain loop over pixels and numbers."""

import base64
import json
import struct
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.embeddings import refusal, rows
from ti_trainer.embedding_files import Embedding, read_embedding, write_embedding
from ti_trainer.embedding_files.cards import scramble, write_pixels
from ti_trainer.embedding_files.formats import pack_card_on


def sequence() -> Iterator[int]:
    """The generator of the format, number by number."""
    state = 0
    while True:
        state = (1664525 * state + 1013904223) % 2**32
        yield state % 255


def read_as_a1111(card: Image.Image) -> dict[str, Any]:
    """The JSON in the pixels, one after the other."""
    width, height = card.size
    low = [[[value % 16 for value in card.getpixel((x, y))] for x in range(width)] for y in range(height)]
    black = [x for x in range(width) if not any(sum(low[y][x]) for y in range(height))]
    halves = []
    for columns in (range(black[0]), range(black[-1] + 1, width)):
        numbers = sequence()
        halves.append([low[y][x][c] ^ next(numbers) % 16 for y in range(height) for x in columns for c in range(3)])
    return json.loads(zlib.decompress(bytes(high * 16 + low for low, high in zip(*halves, strict=True))))


def card_content(**changes: Any) -> dict[str, Any]:
    tensor = {"TORCHTENSOR": rows().tolist()}
    return {"string_to_token": {"*": 265}, "string_to_param": {"*": tensor}, "name": "Old-Cat", "step": 9, **changes}


def card_with_text(path: Path, text: bytes) -> Path:
    info = PngInfo()
    info.add_text("sd-ti-embedding", text.decode("latin-1"))
    Image.new("RGB", (64, 64), "green").save(path, pnginfo=info)
    return path


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A card as we write it."""
    path = tmp_path_factory.mktemp("cards") / "cat.png"
    embedding = Embedding("<my-cat>", {"clip_l": rows()}, {"ti_trainer.step": "12"})
    assert write_embedding(embedding, path, "png-card") == [path]
    return path


def test_sequence() -> None:
    """The first numbers as A1111's own test has them, and further ones by the plain loop."""
    numbers = sequence()
    plain = [next(numbers) for _ in range(5000)]
    assert plain[:8] == [253, 242, 127, 44, 157, 27, 239, 133]
    for count in (0, 1, 2, 3, 4999, 5000):
        assert scramble(count).tolist() == [number % 16 for number in plain[:count]]


def test_text_and_pixels_are_equal(card: Path, tmp_path: Path) -> None:
    by_text = read_embedding(card)
    with Image.open(card) as image:
        text = json.loads(base64.b64decode(image.text["sd-ti-embedding"]))
        assert read_as_a1111(image.convert("RGB")) == text
        image.convert("RGB").save(tmp_path / "bare.png")
        image.convert("RGB").save(tmp_path / "bare.webp", lossless=True)
    assert text["string_to_param"]["*"]["TORCHTENSOR"] == rows().tolist()
    assert (text["name"], text["step"]) == ("my-cat", 12)
    for path in (tmp_path / "bare.png", tmp_path / "bare.webp"):
        by_pixels = read_embedding(path)
        assert torch.equal(by_pixels.vectors["clip_l"], by_text.vectors["clip_l"])
        assert torch.equal(by_pixels.vectors["clip_l"], rows())
        assert (by_pixels.token, dict(by_pixels.metadata)) == (by_text.token, dict(by_text.metadata))
    assert by_text.token == "<my-cat>"
    assert by_text.metadata["ti_trainer.step"] == "12"


@pytest.mark.parametrize("frame", [0, 7])
def test_cards_of_others(tmp_path: Path, frame: int) -> None:
    """Other shades in the high bits, black ones among them, and a black frame around."""
    card = np.array(write_pixels(json.dumps(card_content()).encode(), Image.new("RGB", (90, 200), "orange")))
    shade = np.random.default_rng(0).integers(0, 16, card.shape[:2], dtype=np.uint8)[..., None] << 4
    columns = (card & 0x0F).any((0, 2))
    card[:, columns] = (card & 0x0F | shade)[:, columns]
    card = np.pad(card, ((frame, frame), (frame, frame), (0, 0)))
    Image.fromarray(card).save(tmp_path / "x.png")
    found = read_embedding(tmp_path / "x.png")
    assert torch.equal(found.vectors["clip_l"], rows())
    assert (found.token, found.metadata["ti_trainer.step"]) == ("<old-cat>", "9")


def test_lossy_copies_hold_no_embedding(card: Path, tmp_path: Path) -> None:
    with Image.open(card) as image:
        plain = image.convert("RGB")
        plain.save(tmp_path / "cat.jpg", quality=95)
        plain.save(tmp_path / "cat.webp", quality=90)
        plain.resize((plain.width // 2, plain.height // 2)).save(tmp_path / "small.png")
        plain.crop((0, 0, plain.width // 2, plain.height)).save(tmp_path / "half.png")
        plain.convert("L").save(tmp_path / "grey.png")
    Image.new("RGB", (64, 64), "black").save(tmp_path / "black.png")
    Image.new("RGB", (64, 64), "white").save(tmp_path / "white.png")
    Image.new("RGBA", (64, 64), (16, 32, 48, 9)).save(tmp_path / "dark.png")
    for path in sorted(tmp_path.iterdir()):
        message = refusal(path)
        assert "holds no embedding" in message
        assert "ask for the original PNG" in message


def test_picture_of_ones_own(tmp_path: Path) -> None:
    """The picture stands between the data, cropped to a square; only the title covers some of it."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (512, 700, 3), dtype=np.uint8))
    (tmp_path / "x.png").write_bytes(pack_card_on(Embedding("<cat>", {"clip_h": rows(1, 1024)}), picture))
    with Image.open(tmp_path / "x.png") as card:
        pixels = np.array(card)
    (black,) = (pixels == 0).all((0, 2)).nonzero()
    inside = pixels[:400, black[0] + 1 : black[-1]]
    assert (inside == np.array(picture)[:400, 94:606]).all()
    assert read_embedding(tmp_path / "x.png").families == ("SD 2.x",)


@pytest.mark.parametrize("count", [1, 75])
def test_sizes(tmp_path: Path, count: int) -> None:
    write_embedding(Embedding("<cat>", {"clip_h": rows(count, 1024)}), tmp_path / "x.png", "png-card")
    assert torch.equal(read_embedding(tmp_path / "x.png").vectors["clip_h"], rows(count, 1024))


def encoded(content: Any) -> bytes:
    return base64.b64encode(content if isinstance(content, bytes) else json.dumps(content).encode())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (encoded(card_content(string_to_param={"*": {"TORCHTENSOR": [[1.0, float("nan")]]}})), "NaN"),
        (encoded(card_content(string_to_param={"*": {"TORCHTENSOR": [[1.0, float("inf")]]}})), "Infinity"),
        (encoded(card_content()).replace(b"A", b"!", 1), "damaged"),
        (encoded(b"not JSON"), "damaged"),
        (encoded(b"[" * 900), "damaged"),
        (encoded(b'{"a": ' + b"9" * 5000 + b"}"), "a number of 5,000 digits"),
        (encoded({"string_to_param": {"*": {"TORCHTENSOR": [[1.0], [2.0, 3.0]]}}}), "damaged"),
        (encoded({"string_to_param": {"*": {"TORCHTENSOR": "text"}}}), "damaged"),
        (encoded({"string_to_param": {"*": {"TORCHTENSOR": [1e300] * 768}}}), "not finite"),
        (encoded({"string_to_param": {"*": {"TORCHTENSOR": [[0.5]] * 76}}}), "has 76 vectors"),
        (encoded({"string_to_param": {"*": [1.0] * 768}}), "no embedding of a known layout"),
        (encoded([1, 2]), "no embedding of a known layout (list)"),
        (b"A" * 6_000_000, "more than a card needs"),
    ],
)
def test_text_that_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    assert message in refusal(card_with_text(tmp_path / "x.png", text))


def test_text_of_sdxl(tmp_path: Path) -> None:
    content = {"clip_l": {"TORCHTENSOR": rows().tolist()}, "clip_g": {"TORCHTENSOR": rows(2, 1280).tolist()}}
    found = read_embedding(card_with_text(tmp_path / "x.png", encoded(content)))
    assert torch.equal(found.vectors["clip_g"], rows(2, 1280))
    assert found.families == ("SDXL", "SD 3")


def claiming(data: bytes, width: int, height: int) -> bytes:
    """A PNG with another size in its header."""
    head = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]


@pytest.mark.parametrize(
    "text",
    [
        b"[" + b",".join([b"[]"] * 1_000_000) + b"]",
        b'{"string_to_param": {"*": {"TORCHTENSOR": [' + b",".join([b"1"] * 2**20) + b"]}}}",
        b"[" * 100_000,
        b'{"a": ' * 50_000,
    ],
    ids=["lists", "numbers", "nested lists", "nested mappings"],
)
def test_content_of_too_many_parts(tmp_path: Path, text: bytes) -> None:
    """Each part would be an object of many times its length in the text: counted, not made."""
    path = card_with_text(tmp_path / "x.png", base64.b64encode(text))
    tracemalloc.start()
    try:
        assert "more parts than an embedding's" in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()


def test_bombs(tmp_path: Path) -> None:
    """Pixels and text that inflate to many megabytes, and a picture of a gigapixel: not even inflated."""
    path = tmp_path / "x.png"
    image = Image.new("RGB", (64, 64), "orange")
    write_pixels(b'{"a": "' + b" " * 20_000_000 + b'"}', image).save(path)
    info = PngInfo()
    info.add_text("sd-ti-embedding", "A" * 20_000_000, zip=True)
    image.save(tmp_path / "text.png", pnginfo=info)
    image.save(tmp_path / "plain.png")
    (tmp_path / "huge.png").write_bytes(claiming((tmp_path / "plain.png").read_bytes(), 32768, 32768))
    (tmp_path / "large.png").write_bytes(claiming((tmp_path / "plain.png").read_bytes(), 4096, 4096))
    tracemalloc.start()
    try:
        assert "more than an embedding needs" in refusal(path)
        assert "damaged" in refusal(tmp_path / "text.png")
        assert "damaged" in refusal(tmp_path / "huge.png")  # Pillow's own limit
        assert "4096 x 4096 pixels" in refusal(tmp_path / "large.png")
        assert tracemalloc.get_traced_memory()[1] < 15_000_000
    finally:
        tracemalloc.stop()
