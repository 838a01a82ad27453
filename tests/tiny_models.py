"""Miniatures of every kind of model, with random weights: 32-pixel pictures, 8 x 8 latents, words 32 to 80 wide."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests import tiny_flows
from tests.tiny_parts import POOLED, WIDTHS, build_encoder, build_tokenizer, build_vae

Text = tuple[Tensor, Tensor | None]  # context (L, D) and, where a pipeline has one, the pooled vector (P,)


def encode_with_clips(pipeline: Any, prompt: str, clip_skip: int) -> Text:
    """`encode_prompt` of Stable Diffusion 1, 2 and XL."""
    context, _, *pooled = pipeline.encode_prompt(
        prompt,
        device=torch.device("cpu"),
        num_images_per_prompt=1,
        do_classifier_free_guidance=False,
        clip_skip=clip_skip or None,
    )
    return context[0], pooled[0][0] if pooled else None


def denorm_by_factors(vae: Any, latents: Tensor) -> Tensor:
    return latents / vae.config.scaling_factor + (vae.config.shift_factor or 0)


def load_pipeline(folder: Path) -> Any:
    from diffusers import DiffusionPipeline

    index = json.loads((folder / "model_index.json").read_text())
    missing = [part for part, made_of in index.items() if isinstance(made_of, list) and made_of[0] is None]
    return DiffusionPipeline.from_pretrained(folder, **dict.fromkeys(missing))


def draw(pipeline: Any, texts: list[str], latents: Tensor, steps: int, guidance: float) -> Any:
    """Pictures of 32 x 32 pixels, by a plain pipeline: (B, 32, 32, 3) in [0, 1]."""
    return pipeline(
        prompt=texts,
        latents=latents,
        num_inference_steps=steps,
        guidance_scale=guidance,
        height=32,
        width=32,
        output_type="np",
    ).images


def denoise(pipeline: Any, text: Mapping[str, Tensor], latents: Tensor, steps: int) -> None:
    """Latents of 32 x 32 pixels, by a plain pipeline's own loop, from text that is encoded already."""
    how = {"num_inference_steps": steps, "guidance_scale": 1.0, "height": 32, "width": 32, "output_type": "latent"}
    pipeline(**text, latents=latents, **how)


@dataclass(frozen=True)
class TinyModel:
    """What tells one kind of model from another."""

    pipeline: str  # a key of FAMILIES
    slots: tuple[str, ...]
    prediction_type: str = "epsilon"
    zero_terminal_snr: bool = False
    build: Callable[[], Any] | None = None  # the pipeline; None: `build_unet_pipeline`
    sampler: str = "DDIMScheduler"  # with which previews are drawn
    saving: Mapping[str, Any] = field(default_factory=dict)  # how `save_pretrained` is asked
    load: Callable[[Path], Any] = load_pipeline  # its folder, as a user of diffusers does
    draw: Callable[[Any, list[str], Tensor, int, float], Any] = draw  # prompts, noise as it takes it, steps, guidance
    denoise: Callable[[Any, Mapping[str, Tensor], Tensor, int], None] = denoise  # text, noise as it takes it, steps
    encode: Callable[[Any, str, int], Text] = encode_with_clips  # what a plain pipeline makes of a prompt
    chunks: bool = True  # whether the denoiser takes captions of several windows
    clip_skips: tuple[int, ...] = (0, 1)
    resolution: int = 32
    rounding: float = 2e-6  # by how much its text may differ that is read beside other texts
    window: int = 75  # tokens of the first text encoder
    frames: Callable[[Tensor], Tensor] = lambda pixels: pixels  # (B, c, h, w) as its VAE takes it
    denorm: Callable[[Any, Tensor], Tensor] = denorm_by_factors  # VAE, latents -> what its pipeline decodes
    unpack: Callable[[Tensor], Tensor] = lambda latents: latents  # what its pipeline works on -> (B, c, h, w)
    mu: Callable[[int], float] | None = None  # of so many tokens, where its noise levels depend on them
    mend: Callable[[Any], None] = lambda pipeline: None  # what is wrong with the installed diffusers' pipeline


TINY_MODELS = {
    "sd1": TinyModel("StableDiffusionPipeline", ("clip_l",)),
    "sd2-eps": TinyModel("StableDiffusionPipeline", ("clip_h",)),
    "sd2-v": TinyModel("StableDiffusionPipeline", ("clip_h",), "v_prediction"),
    "sdxl-eps": TinyModel("StableDiffusionXLPipeline", ("clip_l", "clip_g")),
    "sdxl-v-zero-snr": TinyModel("StableDiffusionXLPipeline", ("clip_l", "clip_g"), "v_prediction", True),
}
FLOW = {"prediction_type": "flow_prediction", "sampler": "FlowMatchEulerDiscreteScheduler", "chunks": False}
TINY_MODELS |= {kind: TinyModel(**{**FLOW, **row}) for kind, row in tiny_flows.ROWS.items()}


def build_unet(model: TinyModel) -> Any:
    from diffusers import UNet2DConditionModel

    added: dict[str, Any] = {}
    if len(model.slots) > 1:
        time_width = 8
        added = {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": time_width,
            "projection_class_embeddings_input_dim": POOLED + 6 * time_width,
        }
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=4,
        cross_attention_dim=sum(WIDTHS[slot] for slot in model.slots),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        **added,
    )
    with torch.no_grad():  # words of a random model hardly count otherwise
        for name, parameter in unet.named_parameters():
            if ".attn2." in name:
                parameter.mul_(3)
    return unet


def build_pipeline(kind: str) -> Any:
    """The diffusers pipeline of a key of TINY_MODELS."""
    torch.manual_seed(0)
    model = TINY_MODELS[kind]
    return model.build() if model.build else build_unet_pipeline(model)


def build_unet_pipeline(model: TinyModel) -> Any:
    import diffusers

    parts: dict[str, Any] = {}
    for suffix, slot in zip(("", "_2"), model.slots, strict=False):
        # as published: ViT-L pads with the end of text, the OpenCLIP encoders with "!"
        tokenizer = build_tokenizer() if slot == "clip_l" else build_tokenizer(pad="!")
        encoder = build_encoder(slot, tokenizer, projects=slot == "clip_g")
        parts |= {f"tokenizer{suffix}": tokenizer, f"text_encoder{suffix}": encoder}
    parts["unet"] = build_unet(model)
    parts["vae"] = build_vae(scaling_factor=0.5)
    parts["scheduler"] = diffusers.DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=model.prediction_type,
        rescale_betas_zero_snr=model.zero_terminal_snr,
        timestep_spacing="trailing" if model.zero_terminal_snr else "leading",
    )
    if len(model.slots) == 1:
        parts |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return getattr(diffusers, model.pipeline)(**parts)


def build_folder(kind: str, folder: Path) -> Path:
    build_pipeline(kind).save_pretrained(str(folder), **TINY_MODELS[kind].saving)
    return folder


def load_plain(folder: Path) -> Any:
    """The pipeline in a folder, which may be a changed copy, as a user of diffusers loads it."""
    index = next(folder.glob("*model_index.json"))
    name = json.loads(index.read_text())["_class_name"]
    row = next(row for row in TINY_MODELS.values() if row.pipeline == name)
    pipeline = row.load(folder)
    row.mend(pipeline)
    return pipeline
