"""Three pictures of one colour each and their captions, which lists, tables and folders hold in ways of their own."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ti_trainer.config.concept import Concept
from ti_trainer.data.examples import Example
from ti_trainer.data.images import read_image
from ti_trainer.data.scanning import load_examples

COLOURS = ("red", "lime", "blue")


TEXTS = ("a {token}", "the <cat>, red", "my [name] at home")


CAPTIONS = [("a {token}",), ("the {token}, red",), ("my {token} at home",)]


def encoded(colour: str, size: tuple[int, int] = (6, 4)) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "PNG")
    return data.getvalue()


def load(source: Path | str, **settings: Any) -> list[Example]:
    return load_examples(Concept("<cat>", str(source), **settings), False)[0]


def check(examples: list[Example]) -> None:
    """Every picture with its own caption."""
    assert [example.captions for example in examples] == CAPTIONS
    assert [example.size for example in examples] == [(6, 4)] * 3
    for example, colour in zip(examples, COLOURS, strict=True):
        pixels = np.asarray(read_image(example.picture))
        assert (pixels == np.asarray(Image.new("RGB", (6, 4), colour))).all()


def rows(image: str = "file_name", text: str = "text") -> list[dict[str, str]]:
    return [{image: f"{i}.png", text: each} for i, each in enumerate(TEXTS)]


def write_jsonl(file: Path, lines: list[Any]) -> Path:
    file.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n\n", encoding="utf-8")
    return file
