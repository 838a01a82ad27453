"""The runs of a folder, and what can be done with one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ti_trainer import BadInput, Run
from ti_trainer.app.shelf import Painter, Shelf
from ti_trainer.embedding_files import read_embedding
from ti_trainer.runs.files import RunFiles
from ti_trainer.runs.lock import RunLock


@pytest.fixture
def shelf(finished_run: Run, tmp_path: Path) -> Shelf:
    """One finished run, one that never began, and other things."""
    output = tmp_path / "runs"
    folder = Path(finished_run.folder)
    shutil.copytree(folder, output / folder.name)
    (output / "manifest").mkdir()
    shutil.copy(folder.parent / "manifest" / f"{folder.name}.json", output / "manifest")
    shutil.copytree(folder, output / "begun", ignore=shutil.ignore_patterns("checkpoints", "*.safetensors"))
    (output / ".ui").mkdir()
    (output / "notes").mkdir()
    return Shelf(output)


def test_what_lies_there(shelf: Shelf) -> None:
    assert sorted(shelf.names()) == ["begun", "my-cat"]
    (shelf.output / "damaged").mkdir()
    (shelf.output / "damaged" / "config.yaml").write_text("token: [")
    assert shelf.finished() == ["my-cat"]
    shutil.rmtree(shelf.output / "damaged")
    assert (shelf.state("my-cat"), shelf.state("begun")) == ("finished", "not begun")
    assert Shelf(shelf.output / "nowhere").names() == []
    assert dict(shelf.where_it_goes("my-cat")) == {
        "WebUIs": "cannot load it: no published model has words as wide as this one's"
    }


@pytest.mark.parametrize("name", ["..", "../runs/my-cat", "manifest", "notes", "", None, "nowhere", "/etc"])
def test_only_runs(shelf: Shelf, name: str) -> None:
    for action in (shelf.folder, shelf.delete, shelf.files, shelf.config):
        with pytest.raises(BadInput, match="there is no run"):
            action(name)


def test_deleting(shelf: Shelf) -> None:
    """Not while somebody trains it; its line of the manifest goes with it."""
    lock = RunLock(RunFiles(shelf.output / "my-cat", "my-cat").lock)
    assert lock.acquire()
    with pytest.raises(BadInput, match="is being trained by"):
        shelf.delete("my-cat")
    lock.release()
    shelf.delete("my-cat")
    assert not (shelf.output / "my-cat").exists()
    assert list((shelf.output / "manifest").iterdir()) == []


def test_every_format(shelf: Shelf, tmp_path: Path) -> None:
    rows = read_embedding(shelf.files("my-cat").embedding).vectors["clip_l"]
    for form in shelf.formats:
        files, said = shelf.convert("my-cat", form, tmp_path / "out" / form)
        assert all(file.is_relative_to(tmp_path / "out" / form) for file in files)
        assert read_embedding(files[0]).vectors["clip_l"].allclose(rows)
        assert "wrote" in said


def test_drawing(shelf: Shelf) -> None:
    """{token} and the file's name are the token; the model stays for the next time."""
    painter = Painter(shelf)
    drawn = painter.draw("my-cat", ["a {token}", "my-cat at night"], "", range(2), 1, 3.0)
    assert [title for _, title in drawn] == [
        *("a <my-cat> (seed 0)", "<my-cat> at night (seed 0)", "a <my-cat> (seed 1)", "<my-cat> at night (seed 1)")
    ]
    loaded = painter._loaded
    again = painter.draw("my-cat", ["a {token}"], "", range(1), 1, 3.0)
    assert again[0][0].tobytes() == drawn[0][0].tobytes()
    assert painter._loaded is loaded
    painter.let_go()
    assert painter._loaded is None
    with pytest.raises(BadInput, match="draw 1 to 64 pictures at a time"):
        painter.draw("my-cat", ["a"] * 65, "", range(1), 1, 3.0)
    with pytest.raises(BadInput, match="has no"):
        painter.draw("begun", ["a"], "", range(1), 1, 3.0)
