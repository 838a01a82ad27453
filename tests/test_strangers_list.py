"""A stranger's list: the good rows are learned, each bad one is named, and nothing else is read or written."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from ti_trainer.runs.storage import Storage

REPOSITORY = Path(__file__).resolve().parents[1]
SECRET = "a <my-cat> whose password is hunter2"

# The command in a process that notes all that it opens, lists, changes and asks for.
WATCHED = """
import json, os, sys

seen = []

def note(event, arguments):
    if event in ("open", "os.listdir", "os.scandir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.chmod"):
        seen.append([event, *(os.fsdecode(each) for each in arguments[:2] if isinstance(each, (str, bytes)))])
    elif event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.system"):
        seen.append([event, repr(arguments)])

sys.addaudithook(note)
from ti_trainer.cli import main
status = main(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    json.dump([status, seen], file)
"""


@dataclass(frozen=True)
class Place:
    """A folder with the list and its pictures in `orders`, beside what is somebody else's in `private`."""

    root: Path

    @property
    def orders(self) -> Path:
        return self.root / "orders"

    @property
    def private(self) -> Path:
        return self.root / "private"

    def folder(self, name: str, links: dict[str, Path], texts: dict[str, str] | None = None) -> str:
        """A folder in `orders` with a picture, links and texts."""
        folder = self.orders / name
        folder.mkdir()
        Image.new("RGB", (40, 40), "red").save(folder / "0.png")
        for link, target in links.items():
            (folder / link).symlink_to(target)
        for file, text in (texts or {}).items():
            (folder / file).write_text(text)
        return name


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    (place.private / "masks").mkdir(parents=True)
    Image.new("RGB", (40, 40), "lime").save(place.private / "secret.png")
    Image.new("L", (40, 40), 255).save(place.private / "masks" / "0.png")
    (place.private / "secret.txt").write_text(SECRET)
    (place.private / "metadata.jsonl").write_text(json.dumps({"file_name": "0.png", "text": SECRET}))
    save_file({"<x>": torch.zeros(2, 32)}, place.private / "rows.safetensors")
    place.orders.mkdir()
    place.folder("good", {})
    return place


REFUSALS = ("may not set", "leads out of the folders", "may ask public servers only", "is in no bucket")


def poison(place: Place) -> dict[str, tuple[dict[str, Any], str]]:
    """Rows, and what must be said about each."""
    private = place.private
    never, out, inside, bucket = REFUSALS
    text = "is no text"
    closed = "is not opened"
    chain = "leads through '::'"
    rows: dict[str, tuple[dict[str, Any], str]] = {
        # what is the owner's to say
        "output": ({"output": "../escaped"}, never),
        "output-there": ({"output": str(private), "overwrite": True}, never),
        "overwrite": ({"overwrite": True}, never),
        "resume": ({"resume": True}, never),
        "cache": ({"latent_cache": str(place.root / "cache")}, never),
        "model": ({"model": "owner/other"}, never),
        "pickle": ({"allow_pickle": True}, never),
        "report_to": ({"report_to": "wandb"}, never),
        # paths that lead out
        "absolute": ({"images": str(private)}, out),
        "dots": ({"images": "../private"}, out),
        "file-url": ({"images": f"file://{private}"}, out),
        "local-url": ({"images": f"local://{private}"}, out),
        "link": ({"images": place.folder("link", {"a.png": private / "secret.png"})}, out),
        "folder-link": ({"images": place.folder("folder-link", {"more": private})}, out),
        "caption": ({"images": place.folder("caption", {"0.txt": private / "secret.txt"})}, out),
        "metadata": ({"images": place.folder("metadata", {"metadata.jsonl": private / "metadata.jsonl"})}, out),
        "mask": ({"images": place.folder("mask", {"0.mask.png": private / "masks" / "0.png"})}, out),
        "masks": ({"images": "good", "masks": str(private / "masks")}, out),
        "masks-dots": ({"images": "good", "masks": "good/../../private/masks"}, out),
        "class": ({"images": "good", "class_images": "../private"}, out),
        "templates": ({"images": "good", "templates": str(private / "secret.txt")}, out),
        "init": ({"images": "good", "init": f"file:{private}/rows.safetensors"}, out),
        "init-2": ({"images": "good", "init": "file:rows.safetensors"}, out),
        "etc": ({"images": "/etc"}, out),
        "zero": ({"images": "good", "init": "file:/dev/zero"}, out),
        # URLs
        "reference": ({"images": f"reference::file://{private}/secret.txt"}, chain),
        "zip": ({"images": "zip::https://127.0.0.1:1/a.zip"}, chain),
        "cache-chain": ({"images": "simplecache::file:///etc"}, chain),
        "no-slashes": ({"images": f"dir::{private}"}, chain),
        "metadata-server": ({"images": "https://169.254.169.254/latest/a.jsonl"}, inside),
        "loopback": ({"images": "https://127.0.0.1:1/a.jsonl"}, inside),
        "loopback6": ({"images": "https://[::1]:1/a.jsonl"}, chain),
        "masks-url": ({"images": "good", "masks": "https://10.0.0.1/m.jsonl"}, inside),
        "s3": ({"images": "s3://bucket/other-customer"}, bucket),
        "hf": ({"images": "hf://datasets/owner/name"}, bucket),
        "hub": ({"images": "owner/name"}, "does not exist"),
        "templates-url": ({"images": "good", "templates": "s3://bucket/t.txt"}, out),
        # texts
        "nul": ({"images": "a\0b"}, text),
        "surrogate": ({"images": "\ud800"}, text),
        "templates-nul": ({"templates": "\0"}, text),
        "init-nul": ({"init": "file:\0"}, text),
        "init-surrogate": ({"init": "\udc80\ud800"}, text),
        "colour": ({"images": "good", "alpha_color": "#" * 3000}, "alpha_color"),
        "bogus": ({"optimizer": "bogus"}, "optimizer is 'bogus'"),
        "unknown": ({"foo": "x" * 20_000}, "letters that are no settings, and at most"),
        "fast": ({"lr": "fast"}, "lr is 'fast'"),
        "row": ({"images": "good", "init": "<|row|>"}, "which stands for learned rows"),
        "traversal": ({"images": "traversal.jsonl"}, out),
        "named": (
            {"images": place.folder("named", {}, {"metadata.jsonl": NAMED})},
            "names pictures that are not there",
        ),
    }
    for scheme in ("http", "ftp", "github", "webhdfs", "data", "smb", "generic", "wandb"):
        rows[f"url-{scheme}"] = ({"images": f"{scheme}://127.0.0.1:1/a"}, closed)
    save_file({"<init-2>": torch.zeros(2, 32)}, place.orders / "rows.safetensors")
    (place.orders / "rows_2.safetensors").symlink_to(private / "rows.safetensors")
    (place.orders / "traversal.jsonl").write_text(
        json.dumps({"file_name": "../private/secret.png", "text": "a {token}"})
    )
    return rows


NAMED = json.dumps({"file_name": "../../private/secret.png", "text": "a {token}"})


def run_watched(place: Place, model: Path, *flags: str) -> tuple[int, list[list[str]], str]:
    """Exit status of the command, what its process did, and what it said."""
    log = place.root / "seen.json"
    command = [sys.executable, "-c", WATCHED, str(log), "train", "--concepts", str(place.orders / "list.jsonl")]
    settings = {
        "model": model,
        "output": place.root / "runs",
        "batch_size": 1,
        "validate_every": 0,
        "precision": "fp32",
    }
    command += ["--no-plots", *(part for name, value in settings.items() for part in (f"--{name}", str(value))), *flags]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert log.exists(), done.stderr
    status, seen = json.loads(log.read_text())
    return status, seen, done.stdout + done.stderr


@pytest.mark.long
def test_sixty_rows_of_which_two_are_good(place: Place, model: Path) -> None:
    rows = poison(place)
    good = ["good-1", "good-2"]
    lines: list[dict[str, Any]] = [{"token": f"<{good[0]}>", "images": "good", "init": "cat", "steps": 2}]
    lines += [{"token": f"<{name}>", "init": "cat", "steps": 1, **row} for name, (row, _) in rows.items()]
    lines += [{"token": "<good-1>", "images": "good"}]  # a name that is taken
    lines += [{"token": f"<{good[1]}>", "images": f"{place.orders}/good", "init": "cat", "steps": 1}]
    assert len(lines) == 60
    (place.orders / "list.jsonl").write_text("\n".join(map(json.dumps, lines)))
    before = sorted(map(str, place.root.rglob("*")))
    status, seen, said = run_watched(place, model)

    assert status == 1
    assert "58 of 60 concepts failed:" in said
    reasons = said.partition("58 of 60 concepts failed:\n")[2]
    for name, (_, reason) in rows.items():
        (line,) = re.findall(rf"^  (?:.*\(<{name}>\)|{name}): .*(?:\n(?!  \S+: |  /).*)*", reasons, re.MULTILINE)
        assert reason in line, name
        assert len(line) < 500, name
    assert "two concepts are called 'good-1'" in reasons
    manifest = Storage(str(place.root / "runs")).manifest()
    assert list(manifest.published) == good
    assert len(manifest.failed) == 58
    for name, (_, reason) in rows.items():
        (entry,) = [each for each in manifest.failed.values() if each["token"] == f"<{name}>"]
        assert reason in entry["reason"]
        # a picture that may not be read is a bad picture among others, which may be skipped
        expected = {"refused", "bad_input"} if reason in REFUSALS else {"bad_input"}
        assert entry["code"] in expected, name
    assert sum(entry["code"] == "refused" for entry in manifest.failed.values()) > 20
    assert "hunter2" not in said
    assert "Traceback" not in said
    assert all(line.replace("\t", "").isprintable() for line in reasons.splitlines())
    assert list((place.root / "runs").rglob("traceback.txt")) == []  # none of them meets a mistake of the program

    asked = [event for event in seen if event[0].startswith(("socket", "subprocess", "os.system"))]
    # a look at an address that is written out as one asks nobody
    assert {(event, what.partition(",")[0]) for event, what in asked} == {
        ("socket.getaddrinfo", f"('{address}'") for address in ("169.254.169.254", "127.0.0.1", "10.0.0.1")
    }
    touched = {path for event in seen if event not in asked for path in event[1:]}
    assert any(path.endswith("orders/good/0.png") for path in touched)
    inside = [path for path in touched if os.path.realpath(path).startswith(str(place.private))]
    assert inside == []
    assert [path for path in touched if path in ("/etc", "/dev/zero")] == []
    new = {path for path in map(str, place.root.rglob("*")) if path not in before}
    assert {path for path in new if not path.startswith((f"{place.root}/runs", f"{place.root}/seen.json"))} == set()


@pytest.mark.long
def test_what_the_owner_trusts_is_read(place: Place, model: Path) -> None:
    """Named by a flag, by a setting of all, or in a config of one's own."""
    rows = [
        {"token": "<my-a>", "images": "../private", "init": "cat", "steps": 1},
        {"token": "<my-b>", "images": "link", "init": f"file:{place.private}/rows.safetensors", "steps": 1},
    ]
    place.folder("link", {"a.png": place.private / "secret.png"})
    (place.private / "metadata.jsonl").unlink()
    (place.private / "secret.txt").write_text("a {token}")
    (place.orders / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    # rows of zeros have no direction
    status, seen, said = run_watched(place, model, "--trusted_roots", str(place.private), "--optimizer", "adamw")
    assert status == 0, said
    assert {Path(path).name for event in seen for path in event[1:] if str(place.private) in path} >= {"secret.png"}
