"""A list on a local Ray: nothing lost, nothing done twice, whoever dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.running import MakeConfig
from ti_trainer.errors import Bug
from ti_trainer.runs.storage import Storage

pytest.importorskip("ray", reason="ray is not installed")
from ti_trainer.training.ray_engine import AHEAD, MOST_DEATHS, Desk, End

REPOSITORY = Path(__file__).resolve().parents[2]
COUNT = 200 if os.environ.get("TI_TRAINER_FAULTS") == "all" else 24  # rows, ten of them bad


def write_list(file: Path, pictures: Path, count: int) -> None:
    """Rows of which ten are bad: two that no row may be, and eight whose pictures are missing."""
    rows: list[dict[str, Any]] = []
    for number in range(count):
        row: dict[str, Any] = {"token": f"<c-{number}-x>", "images": str(pictures), "init": "cat", "order": number}
        row |= {"lr": "fast"} if number in (3, 8) else {}
        row |= {"images": "nowhere"} if 10 <= number < 18 else {}
        rows.append(row)
    file.write_text("\n".join(map(json.dumps, rows)))


def check(output: Path, count: int) -> None:
    """Every row is published, or on record as a failure, with its order."""
    manifest = Storage(str(output)).manifest()
    assert len(manifest.published) == count - 10
    assert len(manifest.failed) == 10
    orders = [entry["columns"]["order"] for entry in [*manifest.published.values(), *manifest.failed.values()]]
    assert sorted(orders) == list(range(count))
    for name in manifest.published:
        lines = (output / name / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]


def command(place: Path, pictures: Path, model: Path, *more: str) -> list[str]:
    flags = {"concepts": place / "list.jsonl", "trusted_roots": pictures, "model": model, "output": place / "runs"}
    named = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    settings = ["--steps", "4", "--batch_size", "2", "--validate_every", "0", "--precision", "fp32", "--no-plots"]
    return [*named, *settings, "--progress", "json", *more]


@pytest.mark.long
def test_a_worker_is_killed(tmp_path: Path, pictures: Path, model: Path) -> None:
    write_list(tmp_path / "list.jsonl", pictures, COUNT)
    train = [sys.executable, "-m", "ti_trainer", "train"]
    flags = command(tmp_path, pictures, model, "--engine", "ray", "--workers", "2")
    process = subprocess.Popen(
        [*train, *flags], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    events = []
    killed = None
    for line in process.stdout:
        events.append(json.loads(line))
        done = [each["run"] for each in events if each["event"] == "passed"]
        if len(done) >= COUNT // 4 and killed is None:
            workers = [each for each in psutil.Process(process.pid).children(recursive=True) if is_worker(each)]
            killed = workers[0]
            killed.kill()
    errors = process.communicate()[1]
    assert process.returncode == 1, errors[-2000:]
    assert f"10 of {COUNT} concepts failed:" in errors
    assert killed is not None
    done = [each["run"] for each in events if each["event"] == "passed"]
    assert len(done) == len(set(done)) == COUNT - 10
    failed = [(each["code"], each["columns"]["order"]) for each in events if each["event"] == "failed"]
    assert sorted(failed) == [("bad_input", order) for order in (3, 8, *range(10, 18))]
    notes = [each["text"] for each in events if each["event"] == "note" and "has died" in each["text"]]
    assert len(notes) == 1
    check(tmp_path / "runs", COUNT)


def is_worker(process: psutil.Process) -> bool:
    try:
        return any("ray::work" in part for part in process.cmdline())
    except psutil.Error:
        return False


@pytest.mark.long
def test_the_same_by_two_processes_of_accelerate(tmp_path: Path, pictures: Path, model: Path) -> None:
    write_list(tmp_path / "list.jsonl", pictures, COUNT)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    launch += ["--main_process_port", "0", "train.py"]
    done = subprocess.run(
        [*launch, *command(tmp_path, pictures, model)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    finished = [each["run"] for each in events if each["event"] == "finished"]
    assert len(finished) == len(set(finished)) == COUNT - 10, done.stderr[-2000:]
    check(tmp_path / "runs", COUNT)


def test_what_the_desk_hands_out(make_config: MakeConfig) -> None:
    """Each concept to one worker; what a dead one had comes first, and goes on."""
    configs = [make_config(name=f"run-{number}") for number in range(AHEAD + 2)]
    desk = Desk(deque(configs))
    first = desk.take(0)
    second = desk.take(1)
    assert [config.run_name for config in first + second] == [config.run_name for config in configs]
    assert desk.take(2) == []
    assert desk.is_open()
    desk.end(End("run-0"))
    desk.end(End("run-0"))  # told twice
    assert desk.news(0) == [End("run-0")]
    assert sorted(desk.bury(0)) == sorted(config.run_name for config in first[1:])
    again = desk.take(1)
    assert all(config.resume for config in again)
    assert {config.run_name for config in again} == {config.run_name for config in first[1:]}
    for config in second + again:
        desk.end(End(config.run_name, "why", "diverged"))
    assert not desk.is_open()
    assert desk.news(1) == [End(config.run_name, "why", "diverged") for config in second + again]


def test_a_concept_that_kills_workers_is_given_up(make_config: MakeConfig) -> None:
    desk = Desk(deque([make_config()]))
    for worker in range(MOST_DEATHS):
        assert [config.run_name for config in desk.take(worker)] == ["my-cat"]
        desk.bury(worker)
    assert desk.take(9) == []
    (end,) = desk.news(0)
    assert (end.name, end.code) == ("my-cat", Bug.code)
    assert "3 workers have died while they had it" in str(end.problem)


def test_what_is_overwritten_is_not_begun_twice(make_config: MakeConfig) -> None:
    config = replace(make_config(), overwrite=True)
    desk = Desk(deque([config]))
    desk.take(0)
    desk.bury(0)
    (again,) = desk.take(1)
    assert (again.overwrite, again.resume) == (True, False)  # nothing of it has been begun
