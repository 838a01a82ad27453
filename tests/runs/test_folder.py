import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.run_folders import DOG, checkpoint, made, settings, started
from ti_trainer.config.settings import config_from_mapping, config_to_mapping, read_yaml
from ti_trainer.runs.folder import RunFolder
from ti_trainer.runs.resume import check_folder, finished, is_complete


def test_nothing_is_written_before_create(tmp_path: Path) -> None:
    folder = RunFolder(settings(tmp_path))
    check_folder(folder)
    assert folder.metrics.read() == []
    assert folder.checkpoints.steps() == []
    assert list(tmp_path.iterdir()) == []


def test_config_of_a_run_starts_the_same_run(tmp_path: Path) -> None:
    folder = started(tmp_path, concept=DOG, lr=1e-5, resolution=64, overwrite=True)
    found = config_from_mapping(read_yaml(str(folder.files.config)))
    assert found == settings(tmp_path, concept=DOG, lr=1e-5, resolution=64)
    assert [path.name for path in folder.path.iterdir() if path.name.startswith(".")] in ([], [".lock"])


def test_overwrite_leaves_nothing_of_the_old_run(tmp_path: Path) -> None:
    folder = started(tmp_path)
    folder.checkpoints.save(checkpoint(3))
    folder.metrics.append([{"step": 1}])
    (folder.path / "previews").mkdir()
    (folder.path / "previews" / "step-000100.png").write_bytes(b"old")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_bytes(b"mine")
    (folder.path / "link").symlink_to(elsewhere)
    started(tmp_path, overwrite=True, steps=77)
    assert {path.name for path in folder.path.iterdir()} - {".lock"} == {"config.yaml", "checkpoints"}
    assert list(folder.files.checkpoints.iterdir()) == []
    assert yaml.safe_load(folder.files.config.read_text(encoding="utf-8"))["steps"] == 77
    assert (elsewhere / "precious").read_bytes() == b"mine"


def test_overwrite_spares_a_folder_that_holds_no_run(tmp_path: Path) -> None:
    """`--output . --name src --overwrite` must not delete somebody's work."""
    (tmp_path / "runs" / "cat").mkdir(parents=True)
    (tmp_path / "runs" / "cat" / "thesis.tex").write_bytes(b"mine")
    folder = started(tmp_path, overwrite=True)
    assert (folder.path / "thesis.tex").read_bytes() == b"mine"
    assert folder.files.config.exists()


HOLD = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_in_one_folder(tmp_path: Path) -> None:
    folder = RunFolder(settings(tmp_path))
    folder.path.mkdir(parents=True)
    command = [sys.executable, "-c", HOLD, str(folder.path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert not folder.acquire()
        other.kill()  # -9: the lock goes with the process
    assert folder.acquire()
    folder.create()
    assert not RunFolder(folder.config).acquire()
    folder.release()
    assert RunFolder(folder.config).acquire()


def test_folder_in_which_nothing_was_made_is_removed(tmp_path: Path) -> None:
    folder = RunFolder(settings(tmp_path))
    assert folder.acquire()
    assert folder.path.exists()
    folder.release()
    assert not folder.path.exists()
    started(tmp_path)
    before = sorted(folder.path.rglob("*"))
    assert folder.acquire()
    folder.release()
    assert sorted(folder.path.rglob("*")) == before


FILES = ["cat.safetensors", "config.yaml", "metrics.jsonl", "previews/step-000002-1.png"]


def entry_of(folder: RunFolder) -> dict[str, Any]:
    """What is published with {"step": 3}."""
    return {"step": 3, "status": "finished", "config": config_to_mapping(folder.config), "columns": {}}


def test_publishing_at_home(tmp_path: Path) -> None:
    """The files stay where they are, checkpoints too; the manifest's line has the config of the run."""
    folder = made(started(tmp_path))
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    assert finished(folder) is None
    folder.publish({"step": 3})
    assert {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before
    (line,) = (tmp_path / "runs" / "manifest" / "cat.json").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == entry_of(folder)
    assert finished(folder) == json.loads(line)
    entry = finished(folder)
    assert is_complete(folder, entry)
    assert not is_complete(folder, None)
    assert is_complete(RunFolder(settings(tmp_path, resume=True)), entry)
    assert not is_complete(RunFolder(settings(tmp_path, resume=True, steps=1000)), entry)
    assert not is_complete(RunFolder(settings(tmp_path, overwrite=True)), entry)
    started(tmp_path, overwrite=True)  # from its first moment there is no line of the old run
    assert finished(folder) is None


def test_publishing_behind_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but checkpoints and the lock arrives, and the local folder goes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "temporary"))
    output = f"file://{tmp_path}/far away"
    folder = made(started(tmp_path, output=output))
    assert folder.path.is_relative_to(tmp_path / "temporary")
    assert RunFolder(settings(tmp_path, output=output)).path == folder.path  # for whoever resumes it
    assert RunFolder(settings(tmp_path, output=output + "/2")).path != folder.path
    wanted = {name: (folder.path / name).read_bytes() for name in FILES}
    assert folder.acquire()
    folder.publish({"step": 3})
    folder.release()
    there = tmp_path / "far away"
    found = {path.relative_to(there).as_posix(): path.read_bytes() for path in there.rglob("*") if path.is_file()}
    assert json.loads(found.pop("manifest/cat.json")) == entry_of(folder)
    assert found == {f"cat/{name}": content for name, content in wanted.items()}
    assert not folder.path.exists()
    assert folder.place() == f"{output}/cat"
    assert folder.place(folder.files.embedding) == f"{output}/cat/cat.safetensors"
