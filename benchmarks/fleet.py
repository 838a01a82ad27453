"""Training many concepts at once against one after the other, on the bundled model: images a second, seconds a concept.

    python benchmarks/fleet.py [--concepts 1 4 16 64] [--steps 40] [--rounds 3] [--threads 2]
    python benchmarks/fleet.py --processes 1 2 --concepts 16

Settings are the defaults, except that no pictures are drawn at the end of a run. Time is taken from the end of the
first step to the end of the last concept, so start-up is not counted. Each row of the table is measured `--rounds`
times, in turn with the same concepts trained one after the other in a process with as many threads. Several processes
share the threads equally. `rows` is the largest difference between the learned rows of both ways, divided by their
largest value.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
BATCH = 8


def configs(count: int, steps: int, output: str, micro_batch_size: int | None) -> list[Any]:
    """Configs of concepts that differ in name and seed."""
    from ti_trainer import Concept, TrainConfig

    return [
        TrainConfig(
            Concept("<my-cat>", init="cat"),
            name=f"concept-{number}",
            seed=number,
            steps=steps,
            batch_size=BATCH,
            output=output,
            plots=False,
            micro_batch_size=micro_batch_size,
        )
        for number in range(count)
    ]


class Clock:
    """Remembers when the first step was done; `note` is a callback of training."""

    def __init__(self) -> None:
        self.began = 0.0

    def note(self, record: dict[str, Any]) -> None:
        self.began = self.began or time.time()


def at_once(options: dict[str, Any], clock: Clock) -> float:
    """Seconds for all concepts together."""
    from ti_trainer import train_all

    train_all(configs(options["count"], options["steps"], options["output"], options["micro"]), [clock.note])
    return time.time() - clock.began


def one_by_one(options: dict[str, Any], clock: Clock) -> float:
    """The sum of the seconds for each concept."""
    from ti_trainer import train

    seconds = 0.0
    for config in configs(options["count"], options["steps"], options["output"], None):
        clock.began = 0.0
        train(config, [clock.note])
        seconds += time.time() - clock.began
    return seconds


WAYS: dict[str, Callable[[dict[str, Any], Clock], float]] = {"at_once": at_once, "one_by_one": one_by_one}


def work(way: str, options: dict[str, Any]) -> None:
    """What a process does that `run` starts; prints its times."""
    sys.path.insert(0, str(HERE.parent))
    clock = Clock()
    seconds = WAYS[way](options, clock)
    print(json.dumps({"seconds": seconds, "began": clock.began, "ended": time.time()}))


def run(way: str, options: dict[str, Any], processes: int, threads: int) -> float:
    """Start processes that train in one of WAYS; returns the seconds that they take together."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    share = str(max(1, threads // processes))
    environment = {**os.environ, "OMP_NUM_THREADS": share, "MKL_NUM_THREADS": share, "ACCELERATE_USE_CPU": "true"}
    if processes > 1:
        environment |= {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        subprocess.Popen(
            [sys.executable, str(HERE / "fleet.py"), "--work", way, json.dumps(options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else environment,
        )
        for rank in range(processes)
    ]
    reports = []
    for process in started:
        output, errors = process.communicate()
        if process.returncode:
            raise SystemExit(errors[-3000:])
        reports.append(json.loads(output.splitlines()[-1]))
    if processes == 1:
        return reports[0]["seconds"]
    return max(report["ended"] for report in reports) - min(report["began"] for report in reports)


def difference(one: Path, other: Path, count: int) -> float:
    """The largest difference between the learned rows in two folders of runs, divided by the largest value."""
    from safetensors.numpy import load_file

    worst = 0.0
    for number in range(count):
        rows = [load_file(place / f"concept-{number}" / "my-cat.safetensors")["emb_params"] for place in (one, other)]
        worst = max(worst, float(abs(rows[0] - rows[1]).max() / abs(rows[1]).max()))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concepts", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--processes", type=int, nargs="+", default=[1])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--micro_batch_size", type=int, help="examples that go through the U-Net at once")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(given.work[0], json.loads(given.work[1]))
        return
    print(f"{given.steps} steps of {BATCH}, {given.threads} threads in all")
    print("| concepts | processes | images/s | s a concept | one by one, s a concept | **ratio** | rows |")
    print("|---|---|---|---|---|---|---|")
    for count in given.concepts:
        for processes in given.processes:
            pairs = []
            rows = 0.0
            for _ in range(given.rounds):
                with tempfile.TemporaryDirectory() as scratch:
                    options = {"count": count, "steps": given.steps, "micro": given.micro_batch_size}
                    together = Path(scratch, "together")
                    alone = Path(scratch, "alone")
                    seconds = run("at_once", {**options, "output": str(together)}, processes, given.threads)
                    apart = run("one_by_one", {**options, "output": str(alone)}, 1, given.threads)
                    pairs.append((seconds, apart))
                    rows = max(rows, difference(together, alone, count))
            ratios = sorted(a / b for a, b in pairs)
            seconds, apart = (median(each) for each in zip(*pairs, strict=True))
            cells = [
                str(count),
                str(processes),
                f"{count * given.steps * BATCH / seconds:.1f}",
                f"{seconds / count:.2f}",
                f"{apart / count:.2f}",
                f"**{median(ratios):.2f}** ({ratios[0]:.2f} to {ratios[-1]:.2f})",
                f"{rows:.1e}",
            ]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
