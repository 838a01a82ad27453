"""Do memory and open files stay flat over many concepts? One process trains job after job on a tiny random model.

    python benchmarks/soak.py                # 300 concepts in jobs of ten; some minutes
    python benchmarks/soak.py --count 1000

A line for every fifty concepts: the resident memory of the process, its open files, and its threads. It exits with 1
where memory has grown by more than MOST_GROWTH since the first line, or files or threads at all.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ |= {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import psutil
import torch
from PIL import Image

from tests.tiny_models import build_folder
from ti_trainer import Concept, TrainConfig, train_all
from ti_trainer.training.console import Silence

JOB = 10  # concepts
EVERY = 50
MOST_GROWTH = 64 * 2**20  # bytes


def job(model: Path, pictures: Path, output: Path, first: int) -> list[TrainConfig]:
    """Concepts of one or two steps, numbered from `first`."""
    return [
        TrainConfig(
            Concept(f"<cat-{number}-x>", str(pictures), init="cat", num_vectors=1),
            model=str(model),
            output=str(output),
            steps=1 + number % 2,
            batch_size=1,
            validate_every=1,
            validation_samples=1,
            precision="fp32",
            plots=False,
        )
        for number in range(first, first + JOB)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300, help="concepts")
    count = parser.parse_args().count
    torch.set_num_threads(1)
    process = psutil.Process()
    seen = []
    print(f"{'concepts':>8} {'MiB':>8} {'files':>6} {'threads':>8}")
    with tempfile.TemporaryDirectory() as scratch:
        model = build_folder("sd1", Path(scratch, "model"))
        pictures = Path(scratch, "pictures")
        pictures.mkdir()
        noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3))
        Image.fromarray(noise.astype(np.uint8)).save(pictures / "a.png")
        for done in range(JOB, count + 1, JOB):
            train_all(job(model, pictures, Path(scratch, "runs"), done - JOB), console=Silence())
            if done % EVERY == 0:
                seen.append((process.memory_info().rss, process.num_fds(), process.num_threads()))
                memory, files, threads = seen[-1]
                print(f"{done:>8} {memory / 2**20:>8.0f} {files:>6} {threads:>8}", flush=True)
    if seen and not is_flat(seen[0], seen[-1]):
        print("that is not flat", file=sys.stderr)
        return 1
    return 0


def is_flat(first: tuple[int, int, int], last: tuple[int, int, int]) -> bool:
    """Whether a line has what the first one has: bytes, files, threads."""
    return last[0] - first[0] < MOST_GROWTH and last[1] <= first[1] and last[2] <= first[2]


if __name__ == "__main__":
    sys.exit(main())
