"""The programs that benchmarks/speed.py compares; each does one step whenever it is told to.

    python benchmarks/contenders.py NAME OPTIONS     # OPTIONS: JSON, as speed.py writes it

The program prints a line on standard output after each step, and waits for a line on standard input before the next
one. Everything else that it prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models import ROOT

After = Callable[[], None]
PRODUCT = 2048  # rows and columns of the matrices whose products measure the speed of the machine


def ours(options: dict[str, Any], after_step: After) -> None:
    """Our trainer with default settings, but without the fixed-noise loss, which the others do not measure."""
    from ti_trainer import Concept, TrainConfig, train

    concept = Concept("<my-cat>", images=options["images"], init="cat", num_vectors=1)
    config = TrainConfig(
        concept=concept,
        model=options["model"],
        resolution=options["resolution"],
        batch_size=options["batch"],
        precision=options["precision"],
        lean_unet=options["lean_unet"],
        steps=1_000_000,
        validate_every=0,
        output=options["scratch"],
    )
    train(config, callbacks=[lambda event: after_step() if event.kind == "step" else None])


def recipe(options: dict[str, Any], after_step: After) -> None:
    """The common recipe, see recipe.py."""
    import torch
    from recipe import train

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[options["precision"]]
    images = Path(options["images"])
    model = Path(options["model"])
    train(model, images, options["resolution"], options["batch"], dtype, after_step)


def peer(options: dict[str, Any], after_step: After) -> None:
    """diffusers' textual_inversion.py: a step is done when its progress bar moves."""
    from tqdm.auto import tqdm

    move = tqdm.update

    def update(bar: Any, count: int = 1) -> Any:
        moved = move(bar, count)
        if bar.desc and bar.desc.startswith("Steps"):
            after_step()
        return moved

    tqdm.update = update
    precision = {"fp32": "no"}.get(options["precision"], options["precision"])
    flags = {
        "pretrained_model_name_or_path": options["model"],
        "train_data_dir": options["images"],
        "resolution": options["resolution"],
        "train_batch_size": options["batch"],
        "mixed_precision": precision,
        "placeholder_token": "<my-cat>",
        "initializer_token": "cat",
        "max_train_steps": 1_000_000,
        "save_steps": 1_000_000,
        "output_dir": options["scratch"],
    }
    sys.argv = [options["peer_script"], *(f"--{name}={value}" for name, value in flags.items())]
    runpy.run_path(options["peer_script"], run_name="__main__")


def products(options: dict[str, Any], after_step: After) -> None:
    """What the machine can do: a step is a number of products of float32 matrices, and takes about a second."""
    import torch

    left, right = torch.randn(2, PRODUCT, PRODUCT)
    while True:
        for _ in range(options["products"]):
            left @ right
        after_step()


CONTENDERS: dict[str, Callable[[dict[str, Any], After], None]] = {
    "ti_trainer": ours,
    "recipe": recipe,
    "peer": peer,
    "products": products,
}


def main() -> None:
    name = sys.argv[1]
    options = json.loads(sys.argv[2])
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.path.insert(0, str(ROOT))

    def after_step() -> None:
        device_bytes = 0
        torch = sys.modules["torch"]
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            device_bytes = torch.cuda.max_memory_allocated()
        print(json.dumps({"device_bytes": device_bytes}), file=lines, flush=True)
        if not sys.stdin.readline():
            os._exit(0)

    CONTENDERS[name](options, after_step)


if __name__ == "__main__":
    main()
