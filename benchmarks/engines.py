"""A list of concepts by two processes of accelerate and by two workers of Ray: seconds, start and end included.

    python benchmarks/engines.py [--concepts 48] [--steps 20] [--rounds 2]

The bundled model, default settings but for the steps and no pictures at the end; each process has one thread. The two
are run in turn, and a ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parents[1]
PORT = "29517"
ENGINES = {
    "accelerate, 2 processes": [
        *("-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--main_process_port", PORT, "train.py")
    ],
    "Ray, 2 workers": ["-m", "ti_trainer", "train"],
}


def seconds(engine: str, count: int, steps: int) -> float:
    """How long a list takes, from the command to its end."""
    with tempfile.TemporaryDirectory() as place:
        listed = Path(place, "list.jsonl")
        rows = [{"token": "<my-cat>", "name": f"c-{number}", "init": "cat", "seed": number} for number in range(count)]
        listed.write_text("\n".join(map(json.dumps, rows)))
        flags = ["--concepts", str(listed), "--model", "tiny-sd", "--output", f"{place}/runs", "--steps", str(steps)]
        flags += [
            "--no-plots",
            "--progress",
            "none",
            *(["--engine", "ray", "--workers", "2"] if "Ray" in engine else []),
        ]
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, *ENGINES[engine], *flags],
            cwd=HERE,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
            check=True,
            capture_output=True,
        )
        taken = time.perf_counter() - begun
        assert len(list(Path(place, "runs", "manifest").glob("*.json"))) == count
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concepts", type=int, default=48)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    taken: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    for _ in range(given.rounds):
        for engine in ENGINES:
            taken[engine].append(seconds(engine, given.concepts, given.steps))
    first = median(taken["accelerate, 2 processes"])
    print(f"{given.concepts} concepts of {given.steps} steps")
    print("| engine | seconds | s a concept | of accelerate's |")
    print("|---|---|---|---|")
    for engine, found in taken.items():
        print(
            f"| {engine} | {median(found):.1f} | {median(found) / given.concepts:.2f} | {median(found) / first:.2f} |"
        )


if __name__ == "__main__":
    main()
