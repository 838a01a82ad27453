"""Do memory and open files stay flat over many concepts? Trains a list on a tiny random model, a step or two each.

    python benchmarks/soak.py                # 300 concepts; some minutes
    python benchmarks/soak.py --count 1000

A line for each fiftieth concept: the resident memory of the process, its open files, and the threads. It exits with 1
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
from ti_trainer.training.events import Event

EVERY = 50  # concepts
MOST_GROWTH = 2**20 * 32  # bytes


class Watch:
    """A callback that looks at the process whenever EVERY more concepts are finished."""

    def __init__(self) -> None:
        self.process = psutil.Process()
        self.finished = 0
        self.seen: list[tuple[int, int, int]] = []

    def __call__(self, event: Event) -> None:
        if event.kind != "finished":
            return
        self.finished += 1
        if self.finished % EVERY == 0:
            self.seen.append((self.process.memory_info().rss, self.process.num_fds(), self.process.num_threads()))
            memory, files, threads = self.seen[-1]
            print(f"{self.finished:>8} {memory / 2**20:>8.0f} {files:>6} {threads:>8}", flush=True)

    @property
    def is_flat(self) -> bool:
        """Whether the last line has what the first one has."""
        (memory, *first), (last_memory, *last) = self.seen[0], self.seen[-1]
        return last_memory - memory < MOST_GROWTH and all(map(int.__le__, last, first))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300, help="concepts")
    count = parser.parse_args().count
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        model = build_folder("sd1", Path(scratch, "model"))
        pictures = Path(scratch, "pictures")
        pictures.mkdir()
        noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3))
        Image.fromarray(noise.astype(np.uint8)).save(pictures / "a.png")
        concepts = [Concept(f"<cat-{number}-x>", str(pictures), init="cat", num_vectors=1) for number in range(count)]
        configs = [
            TrainConfig(
                concept,
                model=str(model),
                output=str(Path(scratch, "runs")),
                steps=1 + number % 2,
                batch_size=1,
                validate_every=1,
                validation_samples=1,
                precision="fp32",
                plots=False,
            )
            for number, concept in enumerate(concepts)
        ]
        watch = Watch()
        print(f"{'concepts':>8} {'MiB':>8} {'files':>6} {'threads':>8}")
        train_all(configs, [watch], console=Silence())
    if len(watch.seen) > 1 and not watch.is_flat:
        print("that is not flat", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
