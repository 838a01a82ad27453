"""Three steps on a model of Stable Diffusion 1.5's size: seconds, peak memory, and whether frozen weights changed.

    pip install --no-deps open_clip_torch   # carries CLIP's byte-pair merges
    python benchmarks/full_size.py [--resolution 256] [--steps 3] [--folder DIR]

The model has the published architecture (860 M U-Net, 123 M text encoder, 84 M VAE, 49,408 words) and random weights;
it is built in a temporary folder of 4 GB, or in `--folder`, where later runs find it.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from models import build

from ti_trainer.config.bundled import MY_CAT, sample_data
from ti_trainer.config.concept import Concept
from ti_trainer.config.config import TrainConfig
from ti_trainer.training.learner import Learner
from ti_trainer.training.prepare import encode_rest, load_model, prepare
from ti_trainer.training.processes import Processes
from ti_trainer.training.step import SharedStep, largest_batch


def fingerprint(pipeline: StableDiffusionPipeline) -> str:
    """The SHA-256 of all weights."""
    digest = hashlib.sha256()
    for module in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        for tensor in module.state_dict().values():
            digest.update(tensor.contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(folder: Path, images: Path, resolution: int, steps: int) -> None:
    started = time.perf_counter()
    concept = Concept("<my-cat>", images=str(images), init="cat", num_vectors=2)
    config = TrainConfig(
        concept=concept, model=str(folder), resolution=resolution, batch_size=1, steps=steps, validation_samples=1
    )
    processes = Processes("fp32")
    session = prepare(config, partial(load_model, config, processes.device, processes.dtype))
    encode_rest(session)
    pipeline = session.family.pipeline()
    print(f"parameters: {sum(p.numel() for p in pipeline.unet.parameters()) / 1e6:.0f} M U-Net")
    print(f"loaded and encoded after {time.perf_counter() - started:.1f} s, peak memory {peak_gib():.2f} GiB")
    before = fingerprint(pipeline)
    learner = Learner(session)
    step = SharedStep(session.family, processes, largest_batch(config))
    for _ in range(steps):
        begun = time.perf_counter()
        (loss,) = step.backward([learner])
        learner.update(loss)
        print(f"step {learner.step}: loss {loss.item():.4f}, {time.perf_counter() - begun:.2f} s")
    moved = learner.rows["clip_l"].detach() - learner.initial["clip_l"]
    print(f"rows moved by {moved.norm(dim=1).tolist()}")
    print(f"peak memory {peak_gib():.2f} GiB")
    print(f"frozen weights {'unchanged' if fingerprint(pipeline) == before else 'CHANGED'}: {before[:16]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--images", type=Path, default=sample_data(MY_CAT), help="folder of pictures")
    parser.add_argument("--folder", type=Path, help="keep the model here (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch) / "sd15"
        if not (folder / "model_index.json").exists():
            build("sd15", folder)
        measure(folder, options.images, options.resolution, options.steps)


if __name__ == "__main__":
    main()
