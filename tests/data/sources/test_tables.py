from __future__ import annotations

import os
from pathlib import Path

import datasets
import pytest

from tests.three_pictures import COLOURS, TEXTS, check, encoded, load
from ti_trainer.errors import BadInput
from ti_trainer.files.reach import Reach


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the library copies when it reads parquet does not go into this computer's cache."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))


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
    with pytest.raises(BadInput, match=r"caption_column is 'text', and .* has bild, titel"):
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
    with pytest.raises(BadInput, match=r"x\.parquet\" cannot be read as a dataset"):
        load(tmp_path / "x.parquet")
    datasets.Dataset.from_dict({"a": [1], "b": ["x"]}).to_parquet(tmp_path / "y.parquet")
    with pytest.raises(BadInput, match=r"y\.parquet\" has no column of pictures but a, b; add image_column"):
        load(tmp_path / "y.parquet")
    with pytest.raises(BadInput, match=r"image_column=\"a\" of .*y\.parquet\" holds no pictures"):
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
    with pytest.raises(BadInput, match=r"^images=\"nobody/nothing\" cannot be read as a dataset: [^\n]+$"):
        load("nobody/nothing")
    for name in ("nothing", "./nothing", "a/b/c", "tests/nothing"):
        with pytest.raises(BadInput, match="does not exist; give a folder"):
            load(name)


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    """The library would open them, and wait for somebody who writes."""
    table().to_parquet(tmp_path / "cats.parquet")
    os.mkfifo(tmp_path / "dogs.parquet")
    for place in (tmp_path, tmp_path / "dogs.parquet"):
        with pytest.raises(BadInput, match=r"dogs\.parquet is not a file but a pipe; give a file"):
            load(place)
    table().save_to_disk(tmp_path / "saved")
    (tmp_path / "saved" / "state.json").unlink()
    os.mkfifo(tmp_path / "saved" / "state.json")
    with pytest.raises(BadInput, match=r"state\.json is not a file but a pipe"):
        load(tmp_path / "saved")


def test_long_names_in_a_table_are_not_words_of_captions(tmp_path: Path) -> None:
    cells = [{"bytes": encoded(COLOURS[0]), "path": "a" * 100_000}]
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    named = datasets.Dataset.from_dict({"image": cells, "text": ["{token}"]}, features=features)
    named.to_parquet(tmp_path / "x.parquet")
    (example,) = load(tmp_path / "x.parquet")
    assert example.picture.name == f"{tmp_path}/x.parquet, row 0"


def test_what_a_table_of_somebody_else_may_read(tmp_path: Path) -> None:
    """Only what lies in the reach: by the paths in its cells, by links, and by the list of files of a saved dataset."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (tmp_path / "secret.png").write_bytes(encoded("red"))
    (theirs / "own.png").write_bytes(encoded("red"))
    reach = Reach.within([theirs])
    paths = {"file_name": ["own.png", "../secret.png", str(tmp_path / "secret.png")], "text": list(TEXTS)}
    datasets.Dataset.from_dict(paths).to_parquet(theirs / "table.parquet")
    with pytest.raises(BadInput) as refusal:
        load(theirs / "table.parquet", reach=reach)
    assert [line.partition(" leads out of ")[0] for line in str(refusal.value).splitlines()[:-1]] == [
        f"{theirs}/../secret.png",
        f"{tmp_path}/secret.png",
    ]
    (theirs / "table.parquet").unlink()
    table().save_to_disk(theirs / "saved")
    with pytest.raises(BadInput, match="is a saved dataset, which a list may not name; save it as parquet"):
        load(theirs / "saved", reach=reach)
    table().to_parquet(tmp_path / "cats.parquet")
    (theirs / "tables").mkdir()
    (theirs / "tables" / "link.parquet").symlink_to(tmp_path / "cats.parquet")
    for name in ("tables/link.parquet", "tables"):
        with pytest.raises(BadInput, match="leads out of the folders"):
            load(theirs / name, reach=reach)
    check(load(theirs / "tables"))


def test_captions_that_claim_to_be_pictures_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(encoded("red"))
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Image()})
    cells = {
        "image": [{"bytes": encoded("red"), "path": None}],
        "text": [{"bytes": None, "path": str(tmp_path / "secret.png")}],
    }
    datasets.Dataset.from_dict(cells, features=features).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(BadInput, match="row 0: the caption is no text"):
        load(tmp_path / "a.parquet")


@pytest.mark.parametrize("name", ["reference::a.parquet", "*.parquet", "a[1].parquet"])
def test_names_that_datasets_takes_for_something_else(tmp_path: Path, name: str) -> None:
    table().to_parquet(tmp_path / "cats.parquet")
    (tmp_path / "cats.parquet").rename(tmp_path / name)
    for place in (tmp_path / name, tmp_path):
        with pytest.raises(BadInput, match="in its name; rename it"):
            load(place)
