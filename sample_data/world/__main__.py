"""Train the bundled models: `python -m sample_data.world all`, or one stage by its name.

A stage that was interrupted goes on from its last checkpoint; a stage that was finished is loaded.
`assemble` and `report` also take an unfinished U-Net: give them another folder with --out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from transformers import CLIPModel

from .assemble import assemble
from .clip import train_clip, train_longer
from .flow import train_flow, write_flow
from .judge import train_judge
from .pictures import load_pictures
from .references import write_references
from .report import report
from .tokenizer import load_tokenizer
from .unet import train_denoiser
from .vae import train_vae

ROOT = Path(__file__).resolve().parents[2]


def train_unet(work: Path) -> None:
    """Train the U-Net with the CLIP and the VAE that earlier stages left in `work`."""
    train_denoiser(work, CLIPModel.from_pretrained(work / "clip"), AutoencoderKL.from_pretrained(work / "vae"))


# In the order in which they run; each takes the folder of work and the folder of results.
STAGES: dict[str, Callable[[Path, Path], object]] = {
    "pictures": lambda work, out: load_pictures(work),
    "tokenizer": lambda work, out: load_tokenizer(work),
    "judge": lambda work, out: train_judge(work).save_pretrained(work / "judge"),
    "clip": lambda work, out: train_clip(work).save_pretrained(work / "clip"),
    "clip-longer": lambda work, out: train_longer(work).save_pretrained(work / "clip-longer"),
    "vae": lambda work, out: train_vae(work).save_pretrained(work / "vae"),
    "unet": lambda work, out: train_unet(work),
    "assemble": assemble,
    "my-cat": lambda work, out: write_references("my-cat", out),
    "report": lambda work, out: report(out),
}
# Not among `all`: their model is for trying flows, and is not shipped.
FURTHER: dict[str, Callable[[Path, Path], object]] = {"flow": train_flow, "tiny-flow": write_flow}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m sample_data.world", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=["all", *STAGES, *FURTHER])
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "world", help="where pictures and checkpoints go")
    parser.add_argument("--out", type=Path, default=ROOT / "sample_data", help="where the models and the report go")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    for name, stage in (STAGES | FURTHER).items():
        if options.stage == name or (options.stage == "all" and name in STAGES):
            stage(options.work, options.out)


if __name__ == "__main__":
    main()
