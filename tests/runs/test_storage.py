"""The output folder: what is published is there, byte for byte, whole or not at all, wherever the folder lies."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from ti_trainer.errors import BadInput
from ti_trainer.files.remote import SCHEMES, Scheme
from ti_trainer.runs.storage import RemoteFolder, Storage

ENTRY = {"token": "<my-cat>", "steps": 300, "loss": 0.25, "words": "ä\n\u2028", "files": ["my-cat.safetensors"]}


class Faulty(MemoryFileSystem):
    """A store of its own that counts what is asked of it and fails where it is told to."""

    protocol = "faulty"
    store: dict[str, Any] = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    calls: list[str] = []  # noqa: RUF012
    fail: dict[str, Exception] = {}  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.removeprefix("faulty://"))

    def note(self, call: str, path: str) -> None:
        self.calls.append(f"{call} {path}")
        for pattern, error in self.fail.items():
            if pattern in f"{call} {path}":
                raise error

    def put_file(self, lpath: str, rpath: str, **how: Any) -> None:
        self.note("put", rpath)
        super().put_file(lpath, rpath, **how)

    def pipe_file(self, path: str, value: bytes, **how: Any) -> None:
        try:
            self.note("pipe", path)
        except Exception:
            super().pipe_file(path, value[: len(value) // 2], **how)  # as much as was sent
            raise
        super().pipe_file(path, value, **how)

    def ls(self, path: str, **how: Any) -> Any:
        self.note("ls", path)
        return super().ls(path, **how)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        self.note("makedirs", path)
        super().makedirs(path, exist_ok)

    def rm_file(self, path: str) -> None:
        self.note("rm", path)
        super().rm_file(path)


@pytest.fixture(autouse=True)
def _empty_stores() -> Iterator[None]:
    yield
    for kind in (MemoryFileSystem, Faulty):
        kind.store.clear()
        kind.pseudo_dirs[:] = [""]
    Faulty.calls.clear()
    Faulty.fail.clear()


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> type[Faulty]:
    monkeypatch.setitem(_registry, "faulty", Faulty)
    monkeypatch.setitem(SCHEMES, "faulty", Scheme())
    return Faulty


@pytest.fixture(params=["local", "file", "memory", "faulty"])
def output(request: pytest.FixtureRequest, tmp_path: Path, faulty: type[Faulty]) -> str:
    local = tmp_path / "out" / "runs [1]"
    kinds = {"local": str(local), "file": f"file://{local}", "memory": "memory://runs/[1]", "faulty": "faulty://runs"}
    return kinds[request.param]


def files_in(folder: Path) -> dict[str, Path]:
    """Three files, one of which is in a subfolder and one empty."""
    contents = {"my-cat.safetensors": os.urandom(5000), "previews/a [b]*.png": b"\x89PNG", "metrics.jsonl": b""}
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents}


def read(place: str) -> bytes:
    """A file, by fsspec alone."""
    filesystem, path = fsspec.core.url_to_fs(place)
    return filesystem.cat_file(path)


def test_publish(output: str, tmp_path: Path) -> None:
    storage, files = Storage(output), files_in(tmp_path / "made")
    assert storage.published() == {}
    assert storage.entry("my-cat") is None
    storage.publish("my-cat", files, ENTRY)
    for name, path in files.items():
        assert read(storage.place("my-cat", name)) == path.read_bytes()
    line = read(f"{output}/manifest/my-cat.json")
    assert line.count(b"\n") == 1
    assert len(line.decode().splitlines()) == 1  # by Python's idea of line breaks as well
    assert json.loads(line) == ENTRY
    again = Storage(output + "/")
    assert again.published() == {"my-cat": ENTRY}
    assert again.entry("my-cat") == ENTRY


def test_publish_twice(output: str, tmp_path: Path) -> None:
    storage, files = Storage(output), files_in(tmp_path / "made")
    storage.publish("my-cat", files, ENTRY)
    files["metrics.jsonl"].write_bytes(b"{}\n")
    storage.publish("my-cat", files, {"steps": 400})
    assert storage.published() == {"my-cat": {"steps": 400}}
    assert read(storage.place("my-cat", "metrics.jsonl")) == b"{}\n"


def test_withdraw(output: str, tmp_path: Path) -> None:
    storage, files = Storage(output), files_in(tmp_path / "made")
    storage.withdraw("my-cat")
    storage.publish("my-cat", files, ENTRY)
    storage.publish("other", {}, {})
    storage.withdraw("my-cat")
    assert storage.published() == {"other": {}}
    assert read(storage.place("my-cat", "my-cat.safetensors")) == files["my-cat.safetensors"].read_bytes()


def test_what_another_machine_publishes_is_seen(output: str) -> None:
    here, there = Storage(output), Storage(output)
    assert here.published() == {}
    there.publish("a", {}, {"n": 1})
    assert here.published() == {"a": {"n": 1}}


@pytest.mark.parametrize("damaged", [b"", b'{"token": "<a>", "st', b"[1]", b"\xff\xfe", b"null", b"[" * 100_000])
def test_a_damaged_line_is_no_line(output: str, damaged: bytes) -> None:
    storage = Storage(output)
    storage.publish("a", {}, {"n": 1})
    storage.publish("b", {}, {"n": 2})
    filesystem, path = fsspec.core.url_to_fs(f"{output}/manifest/a.json")
    filesystem.pipe_file(path, damaged)
    filesystem.pipe_file(path.replace("a.json", "notes.txt"), b"{}")
    filesystem.pipe_file(path.replace("a.json", ".hidden.json"), b"{}")
    assert storage.published() == {"b": {"n": 2}}
    assert storage.entry("a") is None
    storage.publish("a", {}, {"n": 3})
    assert storage.published() == {"a": {"n": 3}, "b": {"n": 2}}


def test_two_thousand_lines_are_one_listing(output: str) -> None:
    storage = Storage(output)
    storage.publish("c0", {}, {"n": 0})
    filesystem, path = fsspec.core.url_to_fs(f"{output}/manifest/c0.json")
    for number in range(1, 2000):
        filesystem.pipe_file(path.replace("c0", f"c{number}"), json.dumps({"n": number}).encode())
    Faulty.calls.clear()
    assert storage.published() == {f"c{number}": {"n": number} for number in range(2000)}
    assert Faulty.calls == (["ls /runs/manifest"] if output.startswith("faulty") else [])


def test_files_in_their_place_are_not_copied(tmp_path: Path) -> None:
    files = files_in(tmp_path / "my-cat")
    elsewhere = tmp_path / "x.png"
    elsewhere.write_bytes(b"x")
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files.values()}
    for output in (str(tmp_path), f"file://{tmp_path}"):
        Storage(output).publish("my-cat", {**files, "x.png": elsewhere}, ENTRY)
        assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files.values()} == before
        assert (tmp_path / "my-cat" / "x.png").read_bytes() == b"x"
        assert json.loads((tmp_path / "manifest" / "my-cat.json").read_text()) == ENTRY
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest", "my-cat", "x.png"]


def test_the_line_appears_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it is renamed it has a name that `cat manifest/*.json` does not see, on file:// too."""
    seen, rename = [], os.replace

    def watch(source: Any, target: Any) -> None:
        seen.append((sorted(Path(target).parent.glob("[!.]*.json")), Path(source).read_bytes()))
        rename(source, target)

    monkeypatch.setattr(os, "replace", watch)
    Storage(f"file://{tmp_path}").publish("a", {}, {"n": 1})
    assert seen == [([], b'{"n": 1}\n')]


@pytest.mark.parametrize("where", ["put /runs/a/my-cat", "put /runs/a/metrics", "makedirs /runs/a", "pipe "])
@pytest.mark.parametrize("published", [False, True])
def test_a_publish_that_fails_leaves_no_line(faulty: type[Faulty], tmp_path: Path, where: str, published: bool) -> None:
    storage, files = Storage("faulty://runs"), files_in(tmp_path)
    storage.publish("b", files, {"n": 2})
    if published:
        storage.publish("a", files, {"n": 1})
    faulty.fail[where] = OSError(28, "No space left on device")
    with pytest.raises(OSError, match="faulty://runs/a cannot be written: No space left on device; when") as error:
        storage.publish("a", files, {"n": 3})
    assert not isinstance(error.value, BadInput)
    assert storage.published() == {"b": {"n": 2}}
    assert sorted(name for name in faulty.store if "manifest" in name) == ["/runs/manifest/b.json"]
    faulty.fail.clear()
    storage.publish("a", files, {"n": 3})
    assert storage.published() == {"a": {"n": 3}, "b": {"n": 2}}


def test_an_interrupted_publish_leaves_no_line(faulty: type[Faulty], monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage("faulty://runs")

    def interrupted(self: Faulty, path: str, value: bytes) -> None:
        MemoryFileSystem.pipe_file(self, path, value[:3])
        raise KeyboardInterrupt

    monkeypatch.setattr(Faulty, "pipe_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        storage.publish("a", {}, {"n": 1})
    assert list(faulty.store) == []


def test_denials(faulty: type[Faulty]) -> None:
    storage = Storage("faulty://runs")
    faulty.fail["pipe"] = PermissionError("Access Denied.")
    with pytest.raises(BadInput, match=r"faulty://runs/a cannot be written: access is denied \(Access Denied\.\)"):
        storage.publish("a", {}, {})
    faulty.fail["ls"] = PermissionError("Forbidden")
    with pytest.raises(BadInput, match="faulty://runs/manifest cannot be read: access is denied"):
        storage.published()


def test_no_right_to_delete_is_needed_for_new_concepts(faulty: type[Faulty]) -> None:
    faulty.fail["rm"] = PermissionError("s3:DeleteObject")
    storage = Storage("faulty://runs")
    storage.publish("a", {}, {"n": 1})
    assert storage.published() == {"a": {"n": 1}}
    with pytest.raises(BadInput, match="access is denied"):
        storage.publish("a", {}, {"n": 2})
    assert storage.published() == {"a": {"n": 1}}


def test_a_line_that_cannot_be_read_now_is_not_taken_for_absent(
    faulty: type[Faulty], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage("faulty://runs")
    storage.publish("a", {}, {"n": 1})

    def timeout(*args: Any, **how: Any) -> bytes:
        raise TimeoutError("read timed out")

    monkeypatch.setattr(Faulty, "cat_file", timeout)
    with pytest.raises(OSError, match="faulty://runs/manifest cannot be read: read timed out"):
        storage.published()


def test_no_bucket_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """To make the folder of s3://bukcet/runs would make the bucket."""

    class Bucket(Faulty):
        protocol = ("s3", "s3a")

        def put_file(self, lpath: str, rpath: str, **how: Any) -> None:  # the generic one makes folders
            self.pipe_file(rpath, Path(lpath).read_bytes())

    monkeypatch.setitem(_registry, "s3", Bucket)
    files = files_in(tmp_path)
    RemoteFolder(Bucket(), "/bucket/runs").write("manifest/a.json", b"{}")
    RemoteFolder(Bucket(), "/bucket/runs").copy(files)
    assert {call.split()[0] for call in Bucket.calls} == {"pipe"}
    assert sorted(Bucket.store) == sorted(f"/bucket/runs/{name}" for name in ["manifest/a.json", *files])


def test_filesystems_that_work_on_many_files_at_once(tmp_path: Path) -> None:
    """Those of buckets are asynchronous; this one is memory's, with their way through fsspec."""
    filesystem = AsyncFileSystemWrapper(MemoryFileSystem(), asynchronous=False)
    folder, files = RemoteFolder(filesystem, "/runs [1]"), files_in(tmp_path)
    folder.copy({f"a/{name}": path for name, path in files.items()})
    for name in ("a", "b"):
        folder.write(f"manifest/{name}.json", name.encode())
    assert folder.read_all("manifest") == {"a": b"a", "b": b"b"}
    for name, path in files.items():
        assert MemoryFileSystem().cat_file(f"/runs [1]/a/{name}") == path.read_bytes()
    folder.remove("manifest/a.json")
    folder.remove("manifest/a.json")
    assert folder.read("manifest/a.json") is None
    assert folder.read("manifest/b.json") == b"b"


@pytest.mark.parametrize(
    ("output", "folder", "file"),
    [
        ("runs", "runs/my-cat", "runs/my-cat/a/b.png"),
        ("/data/runs/", "/data/runs/my-cat", "/data/runs/my-cat/a/b.png"),
        ("memory://runs/", "memory://runs/my-cat", "memory://runs/my-cat/a/b.png"),
        ("memory://", "memory:///my-cat", "memory:///my-cat/a/b.png"),
        ("file:///", "file:///my-cat", "file:///my-cat/a/b.png"),
    ],
)
def test_place(output: str, folder: str, file: str) -> None:
    assert Storage(output).place("my-cat") == folder
    assert Storage(output).place("my-cat", "a/b.png") == file


def test_numbers_that_json_does_not_have(tmp_path: Path) -> None:
    entry = {"loss": float("nan"), "history": [1.5, float("inf"), {"best": -float("inf")}], "steps": 3}
    Storage(str(tmp_path)).publish("a", {}, entry)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    line = (tmp_path / "manifest" / "a.json").read_text()
    assert json.loads(line, parse_constant=refuse) == {"loss": None, "history": [1.5, None, {"best": None}], "steps": 3}


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a\\b", "a b", "a\n"])
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    storage = Storage(str(tmp_path))
    for action in (lambda: storage.publish(name, {}, {}), lambda: storage.withdraw(name), lambda: storage.entry(name)):
        with pytest.raises(BadInput, match="cannot be the name of a folder"):
            action()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["manifest", "Manifest"])
def test_a_concept_called_manifest(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="is the folder that lists what is done; choose another token"):
        Storage(str(tmp_path)).publish(name, {}, {})


@pytest.mark.parametrize("file", ["", "..", "../x", "a/../../x", "/etc/x", "a\\x"])
def test_files_that_lead_out(tmp_path: Path, file: str) -> None:
    source = tmp_path / "x"
    source.write_bytes(b"x")
    with pytest.raises(BadInput, match="is no relative file name"):
        Storage(str(tmp_path / "out")).publish("a", {file: source}, {})
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_missing_or_an_entry_that_is_no_json(output: str, tmp_path: Path) -> None:
    """Found before anything is touched: what was published stays."""
    storage = Storage(output)
    storage.publish("a", {}, {"n": 1})
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png is to be published as a file of 'a' and is not there"):
        storage.publish("a", {"x.png": tmp_path / "nowhere.png"}, {"n": 2})
    with pytest.raises(TypeError):
        storage.publish("a", {}, {"n": tmp_path})
    assert storage.published() == {"a": {"n": 1}}


def test_an_output_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "runs").write_bytes(b"")
    storage = Storage(str(tmp_path / "runs"))
    for action in (storage.published, lambda: storage.publish("a", {}, {})):
        with pytest.raises(BadInput, match=r"runs.* cannot be .*: a file is in the way"):
            action()


def test_urls_that_cannot_be_opened() -> None:
    with pytest.raises(BadInput, match='output="s5://x": s5:// is not opened'):
        Storage("s5://x")
