"""The speed of our step against those of the common recipe and, if given, of diffusers' script, taking steps in turn.

    pip install --no-deps open_clip_torch   # carries CLIP's byte-pair merges; not for --size tiny
    python benchmarks/speed.py [--size sd15] [--resolution 256] [--steps 5] [--batch 1] [--threads 2] [--folder DIR]
    python benchmarks/speed.py --peer-script DIFFUSERS/examples/textual_inversion/textual_inversion.py

Each contender is a process of its own, and is measured from outside: seconds from its start to the end of its first
step, seconds of each later step, and the peak of its memory (on a GPU, of the device's memory). While one does a step,
the others wait. Products of matrices, in turn with the steps, measure how fast the machine is at the time: `x floor` is
the time of a step divided by the time that its counted operations (benchmarks/operations.py) would take at that rate.
If other programs run on the machine, use `--threads 1` and compare processor seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psutil

HERE = Path(__file__).resolve().parent
SAMPLE_DATA = HERE.parent / "sample_data"
PRODUCT_FLOP = 2 * 2048**3
RESOLUTION = {"tiny": 64, "sd15": 256, "sdxl": 1024}
# The parts of our step, by their names in benchmarks/operations.py.
OURS = ("U-Net forward", "U-Net backward", "text forward", "text backward")


@dataclass
class Contender:
    """A process that does a step when it is told to, and what was measured of it."""

    name: str
    process: subprocess.Popen[str]
    first_step: float  # seconds from the start of the process to the end of its first step
    first_busy: float  # processor seconds of the same time
    steps: list[float] = field(default_factory=list)  # seconds of each later step
    busy: list[float] = field(default_factory=list)  # processor seconds of each later step
    peak: int = 0  # bytes
    device_peak: int = 0  # bytes

    def step(self) -> float:
        """Let the process do a step; returns its seconds."""
        assert self.process.stdin
        began = time.perf_counter()
        busy = busy_seconds(self.process)
        print(file=self.process.stdin, flush=True)
        self.device_peak = wait_for_step(self.name, self.process)
        self.steps.append(time.perf_counter() - began)
        self.busy.append(busy_seconds(self.process) - busy)
        return self.steps[-1]

    def stop(self) -> None:
        """End the process, and note the peak of its memory."""
        self.process.kill()
        _, _, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = -9
        self.peak = usage.ru_maxrss * 1024


def start(name: str, options: dict[str, Any], threads: int, log: Path) -> Contender:
    """Start a process and wait for its first step."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, str(HERE / "contenders.py"), name, json.dumps(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log.open("w"),
        text=True,
        env=environment,
    )
    try:
        wait_for_step(name, process)
    except SystemExit:
        raise SystemExit(f"{name} failed:\n{log.read_text()[-3000:]}") from None
    return Contender(name, process, time.perf_counter() - began, busy_seconds(process))


def busy_seconds(process: subprocess.Popen[str]) -> float:
    """The processor seconds that a process has used so far."""
    times = psutil.Process(process.pid).cpu_times()
    return times.user + times.system


def wait_for_step(name: str, process: subprocess.Popen[str]) -> int:
    """Wait until the process has done a step; returns the peak of the device's memory in bytes."""
    assert process.stdout
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"{name} ended before its step was done")
    return json.loads(line)["device_bytes"]


def spread(values: list[float]) -> str:
    """The median, with quartiles if there are enough values."""
    if len(values) < 3:
        return f"{median(values):.2f}"
    low, _, high = quantiles(values, n=4, method="inclusive")
    return f"{median(values):.2f} ({low:.2f} to {high:.2f})"


def measure(names: list[str], options: dict[str, Any], threads: int, steps: int, scratch: Path) -> list[Contender]:
    """Start all contenders, one after the other, and let each do a step in `steps` rounds."""
    contenders: list[Contender] = []
    try:
        for name in names:
            contenders.append(
                start(name, {**options, "scratch": str(scratch / name)}, threads, scratch / f"{name}.log")
            )
        for number in range(steps):
            for place in range(len(contenders)):  # each round begins with another contender
                contenders[(place + number) % len(contenders)].step()
    finally:
        for contender in contenders:
            contender.stop()
    return contenders


def table(contenders: list[Contender], batch: int, rates: list[float], flop: float) -> list[str]:
    """A row for each contender, and for each of the others the ratios of our figures to its own, step by step."""
    mine = contenders[0]
    lines = [
        "| | s a step | processor s | images/s | x floor | first step, s (processor) | peak GiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in contenders:
        floors = [seconds * rate / (batch * flop or 1) for seconds, rate in zip(each.steps, rates, strict=True)]
        cells = [
            each.name,
            spread(each.steps),
            spread(each.busy),
            f"{batch / median(each.steps):.2f}",
            spread(floors) if flop and each is mine else "",
            f"{each.first_step:.1f} ({each.first_busy:.1f})",
            f"{(each.device_peak or each.peak) / 2**30:.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    for other in contenders[1:]:
        step = spread([a / b for a, b in zip(mine.steps, other.steps, strict=True)])
        busy = spread([a / b for a, b in zip(mine.busy, other.busy, strict=True)])
        first = f"{mine.first_step / other.first_step:.2f} ({mine.first_busy / other.first_busy:.2f})"
        peak = (mine.device_peak or mine.peak) / (other.device_peak or other.peak)
        lines.append(f"| **{mine.name} / {other.name}** | {step} | {busy} | | | {first} | {peak:.2f} |")
    return lines


def read_files(folder: Path) -> None:
    """Read all files once, so that the first contender, too, finds them in the cache of the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                while file.read(2**24):
                    pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(RESOLUTION), default="sd15")
    parser.add_argument("--resolution", type=int, help="pixels (default: 256, tiny 64, sdxl 1024)")
    parser.add_argument("--steps", type=int, default=5, help="counted steps, after the first")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--precision", default="fp32", help="fp32, bf16 or fp16")
    parser.add_argument("--lean_unet", action=argparse.BooleanOptionalAction, default=True, help="ours")
    parser.add_argument("--only", nargs="+", choices=["ti_trainer", "recipe", "peer"], default=["ti_trainer", "recipe"])
    parser.add_argument("--peer-script", help="diffusers' textual_inversion.py")
    parser.add_argument("--images", default=str(SAMPLE_DATA / "my-cat"), help="folder of pictures")
    parser.add_argument("--folder", type=Path, help="keep the model here (default: a temporary folder)")
    given = parser.parse_args()
    resolution = given.resolution or RESOLUTION[given.size]
    names = list(given.only)
    if given.peer_script and "peer" not in names:
        names.append("peer")
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        model = SAMPLE_DATA / "tiny-sd" if given.size == "tiny" else given.folder or scratch / "model"
        if not (model / "model_index.json").exists():  # a process of its own: what it holds is not ours to report
            subprocess.run([sys.executable, str(HERE / "models.py"), given.size, str(model)], check=True)
        read_files(model)
        options = {
            "model": str(model),
            "images": given.images,
            "resolution": resolution,
            "batch": given.batch,
            "precision": given.precision,
            "lean_unet": given.lean_unet,
            "peer_script": given.peer_script,
            "products": 5 * given.threads,
        }
        *contenders, products = measure([*names, "products"], options, given.threads, given.steps, scratch)
    rates = [5 * given.threads * PRODUCT_FLOP / seconds for seconds in products.steps]  # FLOP/s
    print(f"{given.size}, {resolution} px, batch {given.batch}, {given.precision}, {given.threads} threads")
    print(f"matrix products: {spread([rate / 1e9 for rate in rates])} GFLOP/s\n")
    print("\n".join(table(contenders, given.batch, rates, counted(given.size, resolution))))


def counted(size: str, resolution: int) -> float:
    """The floating-point operations of our step for one picture; 0 for the bundled model, where none are counted."""
    if size == "tiny":
        return 0.0
    from operations import count_step

    work = count_step(size, resolution)
    return float(sum(work[name].flops for name in OURS))


if __name__ == "__main__":
    main()
