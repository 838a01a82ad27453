"""The models of the benchmarks: the bundled miniature, and the published architectures with random weights.

    pip install --no-deps open_clip_torch   # carries CLIP's byte-pair merges

The time and memory of a step depend on the architecture and not on the weights, so none have to be downloaded.
"""

from __future__ import annotations

import gzip
import importlib.util
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

MERGES = 49_152 - 256 - 2

CLIP_L: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
}
CLIP_G: dict[str, Any] = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
    "hidden_act": "gelu",
}
SD15_UNET: dict[str, Any] = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
SDXL_UNET: dict[str, Any] = {
    "sample_size": 128,
    "cross_attention_dim": 2048,
    "attention_head_dim": (5, 10, 20),
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}


@dataclass(frozen=True)
class Architecture:
    """The architecture of a published model."""

    pipeline: str
    resolution: int
    unet: dict[str, Any]
    text_encoders: tuple[dict[str, Any], ...]
    scaling_factor: float
    vae: dict[str, Any] = field(
        default_factory=lambda: {
            "block_out_channels": (128, 256, 512, 512),
            "layers_per_block": 2,
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
        }
    )


ARCHITECTURES = {
    "sd15": Architecture("StableDiffusionPipeline", 512, SD15_UNET, (CLIP_L,), 0.18215),
    "sdxl": Architecture("StableDiffusionXLPipeline", 1024, SDXL_UNET, (CLIP_L, CLIP_G), 0.13025),
}


def build_unet(size: str) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(**ARCHITECTURES[size].unet)


def build_vae(size: str) -> Any:
    from diffusers import AutoencoderKL

    model = ARCHITECTURES[size]
    return AutoencoderKL(**model.vae, sample_size=model.resolution, scaling_factor=model.scaling_factor)


def build_text_encoders(size: str, words: int = 49_408) -> list[Any]:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    kinds = (CLIPTextModel, CLIPTextModelWithProjection)
    return [
        kind(CLIPTextConfig(vocab_size=words, eos_token_id=2, **settings))  # 2 is what the published configs say
        for kind, settings in zip(kinds, ARCHITECTURES[size].text_encoders, strict=False)
    ]


def clip_tokenizer() -> Any:
    """CLIP's tokenizer; its vocabulary is bytes, bytes at the end of a word, merges, start and end of text."""
    from transformers import CLIPTokenizer

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


def build(size: str, folder: Path, dtype: str = "float32") -> None:
    """Write the pipeline of a key of ARCHITECTURES with random weights."""
    import diffusers
    import torch

    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    parts: dict[str, Any] = {"unet": build_unet(size), "vae": build_vae(size)}
    for suffix, encoder in zip(("", "_2"), build_text_encoders(size, len(tokenizer)), strict=False):
        parts |= {f"text_encoder{suffix}": encoder, f"tokenizer{suffix}": tokenizer}
    for module in parts.values():
        if isinstance(module, torch.nn.Module):
            torch.nn.Module.to(module, getattr(torch, dtype))
    parts["scheduler"] = diffusers.DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    if size == "sd15":
        parts |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    getattr(diffusers, ARCHITECTURES[size].pipeline)(**parts).save_pretrained(folder)


if __name__ == "__main__":
    build(sys.argv[1], Path(sys.argv[2]))
