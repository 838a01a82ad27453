"""Does training wait for pictures? A list whose pictures come slowly, with and without reading ahead.

    python benchmarks/prefetch.py                  # each read of a picture sleeps for 0.2 s
    python benchmarks/prefetch.py --megapixels 12  # pictures are JPEG of 12 megapixels, and nothing sleeps

Concepts of the bundled model have different numbers of steps, so that they come in one at a time while others are
trained. Time is taken from the end of the first step to the end of the last concept; each way is measured `--rounds`
times in turn, and a ratio is that of the medians. With one concept, nothing can be read ahead.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

os.environ |= {"ACCELERATE_USE_CPU": "true", "HF_HUB_OFFLINE": "1"}
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from PIL import Image

from ti_trainer import Concept, TrainConfig, train_all
from ti_trainer.data.images import Picture
from ti_trainer.training.console import Silence
from ti_trainer.training.events import Event
from ti_trainer.training.prefetch import Prefetch

MY_CAT = Path(__file__).resolve().parents[1] / "sample_data" / "my-cat"
WAYS = ("quick pictures", "slow, read ahead", "slow, nothing ahead")


def configs(pictures: Path, output: str, count: int, steps: int) -> list[TrainConfig]:
    config = TrainConfig(
        Concept("<my-cat>", str(pictures), init="cat"),
        model="tiny-sd",
        output=output,
        plots=False,
        batch_size=16,
        micro_batch_size=32,  # so two are trained at a time
        validate_every=0,
    )
    return [
        replace(config, name=f"concept-{number}", seed=number, steps=steps + 7 * (number % 5))
        for number in range(count)
    ]


@contextmanager
def sleeping(seconds: float, ahead: bool) -> Iterator[None]:
    """Inside the block every read of a picture sleeps; ahead: whether concepts are read ahead."""
    read, start = Picture.at, Prefetch.start

    def at(*arguments: object) -> Picture:
        picture = read(*arguments)  # type: ignore[arg-type]

        def slow() -> bytes:
            time.sleep(seconds)
            return picture.read()

        return Picture(picture.name, slow)

    Picture.at = at  # type: ignore[method-assign, assignment]
    if not ahead:
        Prefetch.start = lambda *arguments: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        Picture.at, Prefetch.start = read, start  # type: ignore[method-assign]


def measure(pictures: Path, count: int, steps: int, seconds: float, ahead: bool) -> float:
    """Training steps a second, of all concepts together."""
    began = 0.0

    def note(event: Event) -> None:
        nonlocal began
        began = began or time.perf_counter()

    with tempfile.TemporaryDirectory() as output, sleeping(seconds, ahead):
        jobs = configs(pictures, output, count, steps)
        train_all(jobs, [note], console=Silence())
    return sum(config.steps for config in jobs) / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concepts", type=int, default=12)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sleep", type=float, default=0.2, help="seconds of each read")
    parser.add_argument("--megapixels", type=float, help="of JPEG pictures, in place of the sleep")
    given = parser.parse_args()
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        pictures = MY_CAT
        if given.megapixels:
            pictures = Path(folder)
            side = round((given.megapixels * 1e6) ** 0.5)
            for file in MY_CAT.glob("*.png"):
                Image.open(file).convert("RGB").resize((side, side)).save(pictures / f"{file.stem}.jpg", quality=92)
        sleep = 0.0 if given.megapixels else given.sleep
        measure(MY_CAT, 2, 5, 0.0, True)  # what is loaded once
        for _ in range(given.rounds):
            for way in WAYS:
                is_slow = way != WAYS[0]
                source = pictures if is_slow else MY_CAT
                rate = measure(source, given.concepts, given.steps, sleep * is_slow, way != WAYS[2])
                rates[way].append(rate)
    print("| pictures | steps a second | of the quick ones' |")
    print("|---|---|---|")
    for way in WAYS:
        print(f"| {way} | {median(rates[way]):.1f} | {median(rates[way]) / median(rates[WAYS[0]]):.3f} |")


if __name__ == "__main__":
    main()
