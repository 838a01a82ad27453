"""Predicted and measured peak memory, each row a process of its own; random weights, on the CPU.

    pip install --no-deps open_clip_torch   # carries CLIP's byte-pair merges
    python benchmarks/memory.py [--folder DIR] [--rows "tiny 64 8" "sd15 512 2 checkpointing" ...]

A process loads the model, predicts, encodes a picture, drops the VAE and takes two steps with distinct captions. What
is measured is its largest resident memory. Models of full size are built in a temporary folder (4 and 14 GB), or once
and for all in `--folder`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
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
    """Bytes predicted and measured, and the seconds of a prediction."""
    import torch

    from ti_trainer.config import Concept, ModelConfig
    from ti_trainer.families import load_family
    from ti_trainer.memory import plan_memory
    from ti_trainer.optimizers import adamw
    from ti_trainer.placeholders import Placeholders

    concept = Concept("<my-cat>", init="cat", num_vectors=2)
    config = ModelConfig(model=model, gradient_checkpointing=checkpointing)
    family: Any = load_family(config, torch.device("cpu"), torch.float32)
    placeholders = Placeholders([concept], [{slot.name: torch.zeros(2, slot.width) for slot in family.slots}])
    family.install(placeholders)
    side = resolution // family.pixels_per_latent
    shape = (family.unet.config.in_channels, side, side)
    begun = time.perf_counter()
    plan = plan_memory(family, shape, examples, examples, checkpointing, available=2**60)
    seconds = time.perf_counter() - begun

    family.encode_images(torch.zeros(1, 3, resolution, resolution))
    family.vae = family._pipeline.vae = None
    optimizer = adamw(placeholders.parameters(), 1e-3, 0)
    for _ in range(2):
        text = family.encode_text([f"a photo of <my-cat>, {n}" for n in range(examples)])
        noisy = torch.randn(examples, *shape)
        prediction = family.predict(noisy, torch.full((examples,), 500), text, torch.zeros(examples, 6))
        (prediction - noisy).square().mean((1, 2, 3)).sum().backward()
        optimizer.step()
    measured = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"predicted": plan.peak, "measured": measured, "seconds": seconds}


def find(size: str, folder: Path) -> str:
    """The path of a model, built if need be."""
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
    print(
        "| configuration | GiB predicted | measured | ratio | seconds to predict |\n|---|---|---|---|---|", flush=True
    )
    with tempfile.TemporaryDirectory() as scratch:
        for text in options.rows:
            size, resolution, examples, *rest = text.split()
            model = find(size, options.folder or Path(scratch))
            command = [sys.executable, __file__, "--one", model, resolution, examples, str(bool(rest))]
            output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            found = json.loads(output.splitlines()[-1])
            predicted, measured = found["predicted"] / 2**30, found["measured"] / 2**30
            name = ", ".join([size, f"{resolution} px", f"batch {examples}", *rest])
            numbers = f"{predicted:.2f} | {measured:.2f} | {predicted / measured:.2f} | {found['seconds']:.2f}"
            print(f"| {name} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
