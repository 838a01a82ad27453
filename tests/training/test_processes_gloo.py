"""Several processes learn what one learns, sharing examples or dealing concepts out; also after one was killed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ti_trainer import Concept, Run, TrainConfig, train
from ti_trainer.config.settings import configs_to_yaml
from ti_trainer.runs.storage import Storage

pytestmark = pytest.mark.long

ALL = os.environ.get("TI_TRAINER_FAULTS") == "all"
REPOSITORY = Path(__file__).resolve().parents[2]

# Trains from each YAML file. For each, a line is printed: what this process wrote, made, renamed or deleted, which
# lines of manifests it wrote, and what was sent. At step 5 of its second concept, rank 1 kills itself where it is asked
# to, and rank 0, when that has happened, gets the signal that launchers then send. Asked to "lose N", rank 1 cannot
# open the pictures of my-cat any more once the model is there and it has sent N messages.
SCRIPT = """
import json, os, signal, sys, time
from pathlib import Path

root, mode, *files = sys.argv[1:]
rank, dead = int(os.environ["RANK"]), Path(root + ".dead")

def watch(event, arguments):
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if (writes or event in ("os.mkdir", "os.rename", "os.remove")) and str(arguments[0]).startswith(root):
        touched.add(str(arguments[0]))
    if event == "open" and mode.startswith("lose") and rank == 1:
        path = str(arguments[0])
        if path.endswith("unet/config.json"):
            loaded.append(path)
        if loaded and path.endswith(".png") and sum(sent.values()) >= int(mode.split()[1]) and "/cat/" in path:
            raise OSError(f"{path} has gone")
    if event == "os.rename" and Path(os.fspath(arguments[1])).parent.name == "manifest":
        published.append(Path(os.fspath(arguments[1])).stem)

touched, published, sent, seen, loaded = set(), [], {}, [], []
sys.addaudithook(watch)
import torch
import torch.distributed
torch.set_num_threads(1)

def counted(name):
    original = getattr(torch.distributed, name)
    def wrapper(*arguments, **named):
        sent[name] = sent.get(name, 0) + 1
        return original(*arguments, **named)
    return wrapper

for name in ("all_reduce", "reduce", "broadcast", "all_gather", "all_gather_object", "barrier", "send", "isend"):
    setattr(torch.distributed, name, counted(name))

def act(event):
    if event.kind != "step":
        return
    line = event.record
    if line["token"] not in seen:
        seen.append(line["token"])
    if mode == "kill" and len(seen) == 2 and line["step"] == 5:
        if rank == 1:
            dead.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        while not dead.exists():
            time.sleep(0.01)
        signal.raise_signal(signal.SIGTERM)

from ti_trainer import train_all
from ti_trainer.errors import Incomplete, Interrupted
from ti_trainer.config.settings import configs_from_mapping, read_yaml

for file in files:
    for record in (touched, published, sent):
        record.clear()
    try:
        runs = train_all(configs_from_mapping(read_yaml(file), {"resume": True} if mode == "resume" else {}), [act])
    except Interrupted:
        sys.exit(143)
    except Incomplete as problem:
        sys.exit(str(problem))
    names = sorted(Path(run.folder).name for run in runs)
    print("REPORT" + json.dumps({"touched": sorted(touched), "published": published, "sent": sent, "runs": names}))
"""


@contextmanager
def processes(count: int, root: Path, mode: str, files: Sequence[Path]) -> Iterator[list[subprocess.Popen[str]]]:
    """`count` processes that know each other, all gone when the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**os.environ, "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(root), mode, *map(str, files)],
            cwd=REPOSITORY,
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def reports(printed: str) -> list[dict[str, Any]]:
    return [json.loads(line.partition("REPORT")[2]) for line in printed.splitlines() if "REPORT" in line]


def assert_same_run(folder: Path, run: Run) -> None:
    """The rows of the last step, and every line of metrics.jsonl."""
    (last,) = sorted(path.name for path in (Path(run.folder) / "checkpoints").iterdir())[-1:]
    found, wanted = (load_file(place / "checkpoints" / last)["rows.clip_l"] for place in (folder, Path(run.folder)))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["token"]) for line in lines] == [(line["step"], line["token"]) for line in run.history]
    for key in ("loss", "validation_loss", "cosine_to_init"):
        values = [[line[key] for line in history if key in line] for history in (lines, run.history)]
        assert values[0] == pytest.approx(values[1], rel=1e-5, abs=1e-6), key
    assert (folder / Path(run.embedding).name).exists()


def published(output: Path) -> list[str]:
    return list(Storage(str(output)).published())


# odd: processes with 3, 2 and 2 examples, cut into parts of 2; single: nothing to do for all processes but the first.
# Seeds with which no first gradient is so near to zero in a column that Adam makes a step of its rounding.
GLOBAL_BATCHES: dict[str, dict[str, Any]] = {
    "odd": {"batch_size": 7, "micro_batch_size": 2, "validation_samples": 5, "flip": True, "crop": "random", "seed": 1},
    "single": {"batch_size": 1, "validation_samples": 1},
}


@pytest.fixture
def shared_jobs(
    make_config: Callable[..., TrainConfig],
    make_two: Callable[..., list[TrainConfig]],
    two_concepts: tuple[Concept, Concept],
) -> dict[str, list[TrainConfig]]:
    """One concept, and one concept fewer than there are processes, whose batches fit if they are shared by all."""
    jobs = {
        name: [replace(make_config(**changes, max_grad_norm=0.01), concept=two_concepts[0], name=name)]
        for name, changes in GLOBAL_BATCHES.items()
    }
    return {**jobs, "pair": make_two(batch_size=3, micro_batch_size=2, max_grad_norm=0.01)}


@pytest.fixture
def five(make_config: Callable[..., TrainConfig], pictures: Path, other_pictures: Path) -> list[TrainConfig]:
    """Tiny ones, trained one after the other, all different."""
    images = [str(pictures), str(other_pictures)]
    return [
        make_config(
            **{"token": f"<c-{number}>", "images": images[number % 2], "seed": number, "num_vectors": 1 + number % 3},
            **{"micro_batch_size": 3, "max_grad_norm": 0.01},
        )
        for number in range(5)
    ]


def test_processes_learn_what_one_learns(
    shared_jobs: dict[str, list[TrainConfig]], five: list[TrainConfig], tmp_path: Path
) -> None:
    """Fewer concepts than processes share the processes; of at least as many, each is one process's, in silence."""
    shared = tmp_path / "shared"
    files = []
    for name, configs in {**shared_jobs, "five": five}.items():
        files.append(tmp_path / f"{name}.yaml")
        files[-1].write_text(configs_to_yaml([replace(config, output=str(shared)) for config in configs]))
    with processes(3, shared, "plain", files) as started:
        alone = {name: [train(config) for config in configs] for name, configs in shared_jobs.items()}  # meanwhile
        alone["five"] = [train(config) for config in five]
        outputs = [process.communicate(timeout=300) for process in started]
    for process, (_, errors) in zip(started, outputs, strict=True):
        assert process.returncode == 0, errors
    of_rank = [reports(printed) for printed, _ in outputs]  # of each rank those of each job
    for number, (name, configs) in enumerate(shared_jobs.items()):
        main, *others = (own[number] for own in of_rank)
        folders = [config.run_name for config in configs]
        assert sorted(main["published"]) == sorted(folders)
        assert all(str(shared / folder / "metrics.jsonl") in main["touched"] for folder in folders)
        assert [other["touched"] for other in others] == [[], []]
        assert [own[number]["runs"] for own in of_rank] == [sorted(folders)] * 3
        steps = configs[0].steps
        assert all(own[number]["sent"]["all_reduce"] >= 2 * steps for own in of_rank), name
    assert "learned in" in outputs[0][0]
    assert all("learned in" not in printed for printed, _ in outputs[1:])

    dealt = [own[-1] for own in of_rank]
    assert [own["sent"] for own in dealt] == [{"barrier": 1}] * 3  # at the start, when all have looked at the folders
    names = [config.run_name for config in five]
    assert Counter(name for own in dealt for name in own["published"]) == Counter(names)
    assert sorted(name for own in dealt for name in own["runs"]) == names
    assert published(shared) == sorted([*names, "odd", "single", "my-cat", "my-dog"])
    for runs in alone.values():
        for run in runs:
            assert_same_run(shared / Path(run.folder).name, run)


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Contents and time of every file but locks."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.mark.skipif(not ALL, reason="takes long: make soak runs it")
def test_a_process_that_is_killed(five: list[TrainConfig], tmp_path: Path) -> None:
    """SIGKILL in the middle of a concept, SIGTERM to the other process; then the same job with --resume."""
    output, file = tmp_path / "shared", tmp_path / "five.yaml"
    file.write_text(configs_to_yaml([replace(config, output=str(output)) for config in five]))
    with processes(2, output, "kill", [file]) as started:
        errors = [process.communicate(timeout=300)[1] for process in started]
    assert [process.returncode for process in started] == [128 + signal.SIGTERM, -signal.SIGKILL], errors
    assert published(output) == ["c-0", "c-1"]
    assert sorted(path.name for path in output.iterdir()) == ["c-0", "c-1", "c-2", "c-3", "manifest"]
    assert len(list((output / "c-3" / "checkpoints").iterdir())) == 3  # of steps 0, 2 and 4
    before = {name: contents(output / name) for name in ("c-0", "c-1")}

    with processes(2, output, "resume", [file]) as started:
        alone = [train(config) for config in five]  # meanwhile
        outputs = [process.communicate(timeout=300) for process in started]
    for process, (_, problem) in zip(started, outputs, strict=True):
        assert process.returncode == 0, problem
    done = [report for printed, _ in outputs for report in reports(printed)]
    assert Counter(name for report in done for name in report["published"]) == Counter(["c-2", "c-3", "c-4"])
    assert published(output) == [f"c-{number}" for number in range(5)]
    assert {name: contents(output / name) for name in before} == before
    for run in alone:
        assert_same_run(output / Path(run.folder).name, run)


@pytest.mark.skipif(not ALL, reason="takes long: make soak runs it")
@pytest.mark.parametrize("messages", [0, 4])
def test_a_picture_that_one_process_loses(
    make_two: Callable[..., list[TrainConfig]], tmp_path: Path, messages: int
) -> None:
    """Before the first step or after it: all know why, nobody waits, and the other concept is trained by all."""
    output, file = tmp_path / "shared", tmp_path / "two.yaml"
    file.write_text(configs_to_yaml([replace(config, output=str(output)) for config in make_two()]))
    with processes(3, output, f"lose {messages}", [file]) as started:
        errors = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [1, 1, 1], errors
    for said in errors:
        assert re.search(r"1 of 2 concepts failed:\n  my-cat: .*\.png has gone", said), said
    assert published(output) == ["my-dog"]
