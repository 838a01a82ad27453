"""Pictures behind URLs: the copy holds what a folder of them would have given, and is made once."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from ti_trainer.data.sources.folders import find_pictures
from ti_trainer.data.sources.lists import Columns
from ti_trainer.data.sources.urls import fetch
from ti_trainer.errors import BadInput
from ti_trainer.files.reach import Reach


@pytest.fixture(autouse=True)
def _empty_store() -> Iterator[None]:
    yield
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture
def url() -> str:
    """A folder in a bucket, which is not there yet."""
    return "memory://there/my cat [1]"


def png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file, "png")
    return file.getvalue()


def write(url: str, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        filesystem, path = fsspec.core.url_to_fs(f"{url}/{name}")
        filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
        filesystem.pipe_file(path, content)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


FOLDER = {"a.png": png(1), "a.txt": "eine schöne {token}".encode(), "10_x/b [2]*.png": png(2), "metadata.jsonl": b""}


def test_a_folder(url: str, tmp_path: Path) -> None:
    write(url, {**FOLDER, ".DS_Store": b"x", ".thumbs/a.png": b"x", "__MACOSX/a.png": b"x"})
    folder = Path(fetch(url, tmp_path / "scratch"))
    assert tree(folder) == FOLDER
    pictures = find_pictures(str(folder)).found
    assert [(found.place.as_posix(), found.repeats) for found in pictures] == [("a.png", 1), ("10_x/b [2]*.png", 10)]
    assert [found.picture.read() for found in pictures] == [FOLDER["a.png"], FOLDER["10_x/b [2]*.png"]]


def test_it_is_copied_once(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    write(url, FOLDER)
    write(url + "2", {"b.png": png(3)})
    first, other = fetch(url, scratch), fetch(url + "2", scratch)
    monkeypatch.setattr(Reach, "open_url", None)  # nothing is asked of the URL any more
    assert fetch(url, scratch) == first
    assert tree(Path(other)) == {"b.png": png(3)}
    assert len(list(scratch.iterdir())) == 2


def test_a_list_comes_with_its_pictures_and_their_masks(url: str, tmp_path: Path) -> None:
    files = {"a.png": png(1), "a.mask.png": png(2), "more/b.png": png(3)}
    lines = [{"file_name": "a.png", "text": "a {token}"}, {"file_name": "./more/b.png"}, {"file_name": "gone.png"}]
    rows = "\n".join(json.dumps(line) for line in lines).encode()
    write(url, {**files, "list.jsonl": rows, "other.png": png(4), "more/c.png": png(5)})
    local = Path(fetch(f"{url}/list.jsonl", tmp_path / "scratch"))
    assert tree(local.parent) == {**files, "list.jsonl": rows}
    found = find_pictures(str(local)).found
    assert [each.picture.read() for each in found[:2]] == [png(1), png(3)]
    assert found[0].captions == ("a {token}",)
    assert found[0].mask_file == local.parent / "a.mask.png"


def test_a_list_with_a_column_of_another_name(url: str, tmp_path: Path) -> None:
    rows = b'{"bild": "a.png", "file": "b.png"}'
    write(url, {"list.jsonl": rows, "a.png": png(1), "b.png": png(2)})
    local = Path(fetch(f"{url}/list.jsonl", tmp_path / "scratch", Columns(image="bild")))
    assert tree(local.parent) == {"list.jsonl": rows, "a.png": png(1)}


def test_a_parquet_file(url: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict({"image": [{"bytes": png(1), "path": None}], "text": ["a {token}"]})
    table = table.cast_column("image", datasets.Image())
    table.to_parquet(str(tmp_path / "made.parquet"))
    write(url, {"a.parquet": (tmp_path / "made.parquet").read_bytes(), "other.parquet": b"x"})
    local = Path(fetch(f"{url}/a.parquet", tmp_path / "scratch"))
    assert tree(local.parent) == {"a.parquet": (tmp_path / "made.parquet").read_bytes()}
    (found,) = find_pictures(str(local)).found
    assert found.picture.read() == png(1)
    assert found.captions == ("a {token}",)


def test_archives_are_not_opened(tmp_path: Path) -> None:
    for url in ("zip://::memory://there/cats.zip", "zip::memory://there/cats.zip", "tar::file:///x", "zip:///x.zip"):
        with pytest.raises(BadInput, match=r"leads through '::' into another file|is not opened"):
            fetch(url, tmp_path / "scratch")
    assert not (tmp_path / "scratch").exists()


def test_a_file_url_is_a_path_and_nothing_is_copied(tmp_path: Path) -> None:
    assert fetch(f"file://{tmp_path}/cats", tmp_path / "scratch") == f"{tmp_path}/cats"
    assert fetch(f"local://{tmp_path}/cats", tmp_path / "scratch") == f"{tmp_path}/cats"
    assert not (tmp_path / "scratch").exists()


def test_what_a_list_may_copy(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what it was given, and not more files or bytes than a concept needs."""
    write(url, FOLDER)
    scratch = tmp_path / "scratch"
    for roots in ([], ["memory://there/my"], ["memory://there/my cat [1]/a.png"], ["memory://elsewhere"]):
        with pytest.raises(BadInput, match=r"is in no bucket that a list of concepts may read; add trusted_roots"):
            fetch(url, scratch, reach=Reach.within(roots))
    reach = Reach.within(["memory://there/"])
    assert tree(Path(fetch(url, scratch, reach=reach))) == FOLDER
    with pytest.raises(BadInput, match="is in no bucket"):
        fetch("memory://there/../secret", scratch, reach=reach)

    size = sum(map(len, FOLDER.values()))
    for name, most, message in [
        ("MOST_FILES", len(FOLDER) - 1, "has more than 3 files"),
        ("MOST_BYTES", size - 1, "GiB, too much for a concept of a list"),
    ]:
        with monkeypatch.context() as less:
            less.setattr(f"ti_trainer.data.sources.urls.{name}", most)
            with pytest.raises(BadInput, match=message):
                fetch(url, tmp_path / name, reach=reach)
            assert list((tmp_path / name).iterdir()) == []
            assert tree(Path(fetch(url, tmp_path / "own"))) == FOLDER  # what whoever trains asks for is not bounded
            less.setattr(f"ti_trainer.data.sources.urls.{name}", most + 1)
            assert tree(Path(fetch(url, tmp_path / name, reach=reach))) == FOLDER


@pytest.mark.parametrize("images", ["my-cat", "owner/name", "/data/cats", "C:\\cats", "nowhere.jsonl", ""])
def test_local_paths_and_hub_ids_stay(images: str, tmp_path: Path) -> None:
    assert fetch(images, tmp_path / "scratch") == images
    assert not (tmp_path / "scratch").exists()


def test_nothing_there(url: str, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    with pytest.raises(BadInput, match=r"^class_images=\"\w+://.*my cat \[1\]\" does not exist; give a folder"):
        fetch(url, scratch, setting="class_images")
    write(url, {".DS_Store": b"x"})
    with pytest.raises(BadInput, match=r"^images=\"\w+://.*\" is empty"):
        fetch(url, scratch)
    assert list(scratch.iterdir()) == []
    write(url, {"a.png": png(1)})  # a refusal is not remembered
    assert tree(Path(fetch(url, scratch))) == {"a.png": png(1)}


@pytest.mark.parametrize("name", ["../a.png", "/etc/a.png", "x/../../a.png", "..\\a.png", "s3://other/a.png", "C:\\a"])
def test_a_list_that_leads_out(url: str, tmp_path: Path, name: str) -> None:
    write(url, {"list.jsonl": json.dumps({"file_name": name}).encode()})
    with pytest.raises(BadInput, match="pictures of a list behind a URL lie in its folder"):
        fetch(f"{url}/list.jsonl", tmp_path / "scratch")


def test_an_object_whose_name_leads_out(tmp_path: Path) -> None:
    """Keys of buckets are any text; one with /../ in it is passed by, as hidden files are."""
    write("memory://evil", {"a.png": png(1), "../../x.png": b"x"})
    assert tree(Path(fetch("memory://evil", tmp_path / "scratch"))) == {"a.png": png(1)}
    write("memory://worse", {"a.png": png(1), "a\\..\\..\\x.png": b"x"})
    with pytest.raises(BadInput, match="which would lie outside its folder; rename it"):
        fetch("memory://worse", tmp_path / "scratch")
    assert not list(tmp_path.rglob("*x.png"))


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("memory://x", {"a.png": png(1), "b.png": png(2)})
    whole = MemoryFileSystem.get_file

    def fail(self: MemoryFileSystem, source: str, target: str, **how: Any) -> None:
        if source.endswith("b.png"):
            raise TimeoutError("read timed out")
        whole(self, source, target, **how)

    monkeypatch.setattr(MemoryFileSystem, "get_file", fail)
    with pytest.raises(OSError, match='images="memory://x" cannot be read: read timed out; when the cause'):
        fetch("memory://x", tmp_path / "scratch")
    assert list((tmp_path / "scratch").iterdir()) == []
    monkeypatch.undo()
    assert set(tree(Path(fetch("memory://x", tmp_path / "scratch")))) == {"a.png", "b.png"}


def test_another_process_may_be_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both copy; one of them gives its copy its place, and the other takes that one."""
    write("memory://x", {"a.png": png(1)})
    scratch, rename = tmp_path / "scratch", os.rename

    def overtaken(source: Any, target: Any) -> None:
        monkeypatch.undo()
        fetch("memory://x", scratch)
        rename(source, target)

    monkeypatch.setattr(os, "rename", overtaken)
    assert tree(Path(fetch("memory://x", scratch))) == {"a.png": png(1)}
    assert [path.name.startswith(".") for path in scratch.iterdir()] == [False]
