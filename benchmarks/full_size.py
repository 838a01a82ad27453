"""Three steps on a model of Stable Diffusion 1.5's size: seconds, peak memory, and whether anything frozen moved.

    pip install --no-deps open_clip_torch   # carries CLIP's byte-pair merges
    python benchmarks/full_size.py [--resolution 256] [--steps 3] [--folder DIR]

The model has the published architecture (860 M U-Net, 123 M text encoder, 84 M VAE, 49,408 words) and random weights;
it is built in a temporary folder of 4 GB, or once and for all in `--folder`.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib.util
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from ti_trainer.bundled import MY_CAT, sample_data  # noqa: E402
from ti_trainer.config import Concept, TrainConfig  # noqa: E402
from ti_trainer.loop import Training  # noqa: E402
from ti_trainer.prepare import prepare  # noqa: E402
from ti_trainer.processes import Processes  # noqa: E402

MERGES = 49_152 - 256 - 2


def clip_tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer: bytes, bytes that end a word, merges, start and end of text."""
    package = importlib.util.find_spec("open_clip")
    if package is None or package.origin is None:
        raise SystemExit("pip install --no-deps open_clip_torch: its wheel carries CLIP's merges")
    text = gzip.decompress((Path(package.origin).parent / "bpe_simple_vocab_16e6.txt.gz").read_bytes()).decode()
    merges = [tuple(line.split()) for line in text.split("\n")[1 : MERGES + 1]]
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = [chr(byte) for byte in printable] + [chr(256 + n) for n in range(256 - len(printable))]
    entries = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges)]
    entries += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {entry: number for number, entry in enumerate(entries)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)


def build(folder: Path) -> None:
    """A Stable Diffusion 1.5 pipeline with random weights."""
    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        projection_dim=768,
        eos_token_id=2,  # as published
    )
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    channels = (128, 256, 512, 512)
    vae = AutoencoderKL(
        block_out_channels=channels,
        layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        sample_size=512,
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    parts: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    StableDiffusionPipeline(
        vae=vae, text_encoder=CLIPTextModel(text), tokenizer=tokenizer, unet=unet, scheduler=scheduler, **parts
    ).save_pretrained(folder)


def fingerprint(pipeline: StableDiffusionPipeline) -> str:
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
        (concept,), model=str(folder), resolution=resolution, batch_size=1, steps=steps, validation_samples=1
    )
    processes = Processes("fp32")
    session = prepare(config, processes)
    pipeline = session.family.pipeline()
    print(f"parameters: {sum(p.numel() for p in pipeline.unet.parameters()) / 1e6:.0f} M U-Net")
    print(f"loaded and encoded after {time.perf_counter() - started:.1f} s, peak memory {peak_gib():.2f} GiB")
    before = fingerprint(pipeline)
    training = Training(session, processes)
    for _ in range(steps):
        begun = time.perf_counter()
        losses, _ = training.gradients(stop=False)
        training.update()
        print(f"step {training.step}: loss {losses.item():.4f}, {time.perf_counter() - begun:.2f} s")
    moved = training.rows[0].detach() - training.initial["clip_l"]
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
            build(folder)
        measure(folder, options.images, options.resolution, options.steps)


if __name__ == "__main__":
    main()
