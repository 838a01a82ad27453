"""Lists, tables and class pictures; folders are in test_scanning.py and test_hostile.py."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from ti_trainer.config.config import Concept
from ti_trainer.data.captions import TEMPLATES
from ti_trainer.data.examples import Example
from ti_trainer.data.images import read_image
from ti_trainer.data.scanning import load_examples
from ti_trainer.errors import BadInput

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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, colour in enumerate(COLOURS):
        (tmp_path / f"{number}.png").write_bytes(encoded(colour))
    return tmp_path


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the library copies when it reads parquet does not go into this computer's cache."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))


def rows(image: str = "file_name", text: str = "text") -> list[dict[str, str]]:
    return [{image: f"{i}.png", text: each} for i, each in enumerate(TEXTS)]


def write_jsonl(file: Path, lines: list[Any]) -> Path:
    file.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n\n", encoding="utf-8")
    return file


@pytest.mark.parametrize(("image", "text"), [("file_name", "text"), ("image", "caption"), ("path", "prompt")])
def test_jsonl(folder: Path, image: str, text: str) -> None:
    check(load(write_jsonl(folder / "list.jsonl", rows(image, text))))


def test_jsonl_with_other_columns(folder: Path) -> None:
    lines = [{**row, "text": "not this"} for row in rows("bild", "titel")]
    file = write_jsonl(folder / "list.jsonl", lines)
    check(load(file, image_column="bild", caption_column="titel"))
    with pytest.raises(BadInput, match=r"--image_column is 'picture', and .*list\.jsonl has bild, titel, text"):
        load(file, image_column="picture")


def test_jsonl_of_several_captions(folder: Path) -> None:
    """In one line or in several; a picture without any gets templates; only listed pictures count."""
    lines = [
        {"file_name": "0.png", "text": ["a {token}", "one {token}"]},
        {"file_name": "1.png"},
        {"file_name": "0.png", "text": "two\u2028{token}"},
    ]
    examples = load(write_jsonl(folder / "list.jsonl", lines))
    assert [example.captions for example in examples] == [
        ("a {token}", "one {token}", "two {token}"),
        TEMPLATES["object"],
    ]


def test_jsonl_elsewhere(folder: Path) -> None:
    """Paths are those of the list's folder, or absolute; a picture that is not there is named."""
    (folder / "lists").mkdir()
    lines = [{"file_name": "../0.png"}, {"file_name": str(folder / "1.png")}]
    assert [e.size for e in load(write_jsonl(folder / "lists" / "list.jsonl", lines))] == [(6, 4)] * 2
    with pytest.raises(BadInput, match=r"lost\.png cannot be read: No such file"):
        load(write_jsonl(folder / "list.jsonl", [{"file_name": "lost.png"}]))


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv"])
def test_metadata_of_a_folder(folder: Path, name: str) -> None:
    if name.endswith("jsonl"):
        write_jsonl(folder / name, rows())
    else:
        lines = ["file_name,text", *(f'{i}.png,"{text}"' for i, text in enumerate(TEXTS))]
        (folder / name).write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8", newline="")
    check(load(folder))


def test_metadata_of_a_subfolder_and_pictures_that_no_list_names(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "1.png").rename(folder / "sub" / "1.png")
    write_jsonl(folder / "sub" / "metadata.jsonl", [{"file_name": "1.png", "text": TEXTS[1]}])
    (folder / "2.caption").write_text(TEXTS[2], encoding="utf-8")
    examples = load(folder)
    assert [example.captions for example in examples] == [TEMPLATES["object"], CAPTIONS[2], CAPTIONS[1]]


def table(image: str = "image", text: str = "text") -> datasets.Dataset:
    cells = [{"bytes": encoded(colour), "path": f"{i}.png"} for i, colour in enumerate(COLOURS)]
    features = datasets.Features({image: datasets.Image(), text: datasets.Value("string")})
    return datasets.Dataset.from_dict({image: cells, text: list(TEXTS)}, features=features)


def test_saved_dataset(tmp_path: Path) -> None:
    table().save_to_disk(tmp_path / "one")
    check(load(tmp_path / "one"))
    datasets.DatasetDict({"test": table().select([0]), "train": table()}).save_to_disk(tmp_path / "two")
    check(load(tmp_path / "two"))
    datasets.DatasetDict({"test": table(), "other": table()}).save_to_disk(tmp_path / "three")
    with pytest.raises(BadInput, match="has the parts test, other and none called train"):
        load(tmp_path / "three")


def test_arrow_file(tmp_path: Path) -> None:
    table("bild", "titel").save_to_disk(tmp_path / "one")
    (file,) = (tmp_path / "one").glob("*.arrow")
    check(load(file, caption_column="titel"))
    with pytest.raises(BadInput, match=r"--caption_column is 'text', and .* has bild, titel"):
        load(file, caption_column="text")


def test_parquet(tmp_path: Path) -> None:
    """A file, and a folder of files; the picture is named by its file and row."""
    table().to_parquet(tmp_path / "cats.parquet")
    examples = load(tmp_path / "cats.parquet")
    check(examples)
    check(load(tmp_path))
    assert examples[1].picture.name == f"{tmp_path / 'cats.parquet'}, row 1 (1.png)"


def test_table_of_paths(folder: Path) -> None:
    """Pictures as the names of files beside the table."""
    paths = datasets.Dataset.from_dict({"file_name": [f"{i}.png" for i in range(3)], "caption": list(TEXTS)})
    paths.to_parquet(folder / "table.parquet")
    check(load(folder / "table.parquet"))


def test_tables_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"no parquet")
    with pytest.raises(BadInput, match=r"x\.parquet cannot be read as a dataset"):
        load(tmp_path / "x.parquet")
    datasets.Dataset.from_dict({"a": [1], "b": ["x"]}).to_parquet(tmp_path / "y.parquet")
    with pytest.raises(BadInput, match=r"y\.parquet has no column of pictures but a, b; add --image_column"):
        load(tmp_path / "y.parquet")
    with pytest.raises(BadInput, match=r"--image_column 'a' of .*y\.parquet holds no pictures"):
        load(tmp_path / "y.parquet", image_column="a")
    cells = [{"bytes": encoded("red")[:40], "path": None}, None]
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict({"image": cells}, features=features).to_parquet(tmp_path / "z.parquet")
    with pytest.raises(BadInput) as refusal:
        load(tmp_path / "z.parquet")
    damaged, missing, _ = str(refusal.value).splitlines()
    assert "z.parquet, row 0 is" in damaged
    assert "z.parquet, row 1 has no picture" in missing


def test_hub_name_without_a_net() -> None:
    """What looks like a hub id, and is not to be had; a folder's name with a mistake is no hub id."""
    with pytest.raises(BadInput, match=r"^--images nobody/nothing cannot be read as a dataset: [^\n]+$"):
        load("nobody/nothing")
    for name in ("nothing", "./nothing", "a/b/c", "tests/nothing"):
        with pytest.raises(BadInput, match="does not exist; give a folder"):
            load(name)


def test_pictures_of_the_class(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """After the concept's own, at their weight, with the templates whatever their captions say."""
    others = tmp_path_factory.mktemp("others")
    (others / "x.png").write_bytes(encoded("black", (8, 8)))
    (others / "x.txt").write_text("a dog", encoding="utf-8")
    (folder / "0.txt").write_text("a {token}", encoding="utf-8")
    examples = load(folder, class_images=str(others), class_weight=0.25)
    assert [(e.is_class, e.weight, e.mask) for e in examples] == [(False, 1.0, None)] * 3 + [(True, 0.25, None)]
    assert [e.captions for e in examples] == [("a {token}",), *[TEMPLATES["object"]] * 3]
    with pytest.raises(BadInput, match="--class_images gone does not exist"):
        load(folder, class_images="gone")
