"""A service that watches: rows that are appended, lists that appear, limits, and its end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ti_trainer.runs.storage import Storage

pytestmark = pytest.mark.long

REPOSITORY = Path(__file__).resolve().parents[2]


def row(token: str, **more: Any) -> str:
    return json.dumps({"token": token, "images": "pictures", "init": "cat", **more}) + "\n"


def until(is_so: Callable[[], object], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end, process.kill() or process.communicate()
        assert process.poll() is None
        time.sleep(0.1)


def test_a_service(tmp_path: Path, pictures: Path, model: Path) -> None:
    orders, output = tmp_path / "orders", tmp_path / "runs"
    orders.mkdir()
    (orders / "pictures").symlink_to(pictures)
    train = [sys.executable, "-m", "ti_trainer", "train", "--concepts", str(orders), "--watch", "--progress", "json"]
    flags = {"model": model, "output": output, "steps": 3, "batch_size": 2, "validate_every": 0, "precision": "fp32"}
    train += [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    train += ["--no-plots", "--trusted_roots", str(pictures), "--row_limits", "pictures=4", "num_vectors=4"]
    process = subprocess.Popen(
        train, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    storage = Storage(str(output))
    (orders / "first.jsonl").write_text(row("<my-a>", customer="Ada") + row("<my-b>", init="orange striped cat"))
    until(lambda: "my-a" in storage.manifest().published and "my-b" in storage.manifest().failed, process)
    assert storage.manifest().failed["my-b"]["code"] == "refused"
    with (orders / "first.jsonl").open("a") as opened:
        opened.write(row("<my-c>") + row("<my-d>", num_vectors=5))
    (orders / "second.csv").write_text("token,images,init,customer\n<my-e>,pictures,cat,Eve\n<my-f>,nowhere,cat,\n")
    until(lambda: {"my-a", "my-c", "my-e"} <= set(storage.manifest().published), process)
    until(lambda: {"my-b", "my-f", "first.jsonl,4"} <= set(storage.manifest().failed), process)
    process.send_signal(signal.SIGTERM)
    told, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert "everything is saved; to go on: the same again with --resume" in errors
    events = [json.loads(line) for line in told.splitlines()]
    assert events[-1]["event"] == "done"
    assert {each["run"]: each["columns"] for each in events if each["event"] == "finished"} == {
        "my-a": {"customer": "Ada"},
        "my-c": {},
        "my-e": {"customer": "Eve"},
    }
    assert storage.manifest().published["my-e"]["columns"] == {"customer": "Eve"}
    assert storage.manifest().failed["first.jsonl,4"]["reason"] == (
        "num_vectors is 5, and a row of a list may ask for 4 at most"
    )
