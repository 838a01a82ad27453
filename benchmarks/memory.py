"""Predicted and measured peak memory of training on the CPU, with random weights.

    pip install --no-deps open_clip_torch   # carries CLIP's byte-pair merges
    python benchmarks/memory.py [--folder DIR] [--rows "tiny 64 8" "sd15 512 2 checkpointing" ...]

For each row of the table, a new process trains three steps on the bundled pictures, and its largest resident memory is
measured. Models of full size are built in a temporary folder (4 and 14 GB), or in `--folder`, where later runs find
them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models import ROOT, build

ROWS = (
    "tiny 64 8",
    "tiny 64 32",
    "tiny 64 128",
    "sd15 256 1",
    "sd15 256 2",
    "sd15 256 4",
    "sd15 512 1",
    "sd15 512 2",
    "sd15 512 1 checkpointing",
    "sd15 512 2 checkpointing",
)


def row(model: str, resolution: int, examples: int, checkpointing: bool) -> dict[str, Any]:
    """The predicted and the measured bytes."""
    from ti_trainer import Concept, TrainConfig, train

    with tempfile.TemporaryDirectory() as scratch:
        config = TrainConfig(
            Concept("<my-cat>", init="cat", num_vectors=2),
            model=model,
            resolution=resolution,
            batch_size=examples,
            micro_batch_size=examples,
            gradient_checkpointing=checkpointing,
            steps=3,
            validate_every=0,
            plots=False,
            precision="fp32",
            output=scratch,
        )
        run = train(config)
    return {"predicted": run.predicted_peak, "measured": run.peak}


def find(size: str, folder: Path) -> str:
    """The path of a model, which is built if it does not exist."""
    if size == "tiny":
        return str(ROOT / "sample_data/tiny-sd")
    if not (folder / size / "model_index.json").exists():
        build(size, folder / size)
    return str(folder / size)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=ROWS, help="each: model, pixels, examples, maybe checkpointing")
    parser.add_argument("--folder", type=Path, help="keep the models here (default: a temporary folder)")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        model, resolution, examples, checkpointing = options.one
        print(json.dumps(row(model, int(resolution), int(examples), checkpointing == "True")))
        return
    print("| configuration | GiB predicted | measured | ratio |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for text in options.rows:
            size, resolution, examples, *rest = text.split()
            model = find(size, options.folder or Path(scratch))
            command = [sys.executable, __file__, "--one", model, resolution, examples, str(bool(rest))]
            output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            found = json.loads(output.splitlines()[-1])
            predicted = found["predicted"] / 2**30
            measured = found["measured"] / 2**30
            name = ", ".join([size, f"{resolution} px", f"batch {examples}", *rest])
            numbers = f"{predicted:.2f} | {measured:.2f} | {predicted / measured:.2f}"
            print(f"| {name} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
