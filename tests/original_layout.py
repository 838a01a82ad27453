"""A diffusers pipeline as the single checkpoint file that WebUIs load: the keys of the original implementations."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPEN_CLIP_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def rename(name: str, table: dict[str, str]) -> str:
    for new, old in table.items():
        if name.startswith(f"{new}."):
            return old + name[len(new) :]
    return name


def unet_key(name: str, layers: int, attends: list[bool]) -> str:
    """attends: for each block on the way up whether it has attention."""
    name = rename(name, UNET_ENDS)
    found = re.fullmatch(
        r"(down_blocks|up_blocks|mid_block)\.(?:(\d+)\.)?(resnets|attentions|\w+samplers)\.(\d+)\.(.*)", name
    )
    if not found:
        return name
    way, block, kind, index, rest = found[1], int(found[2] or 0), found[3], int(found[4]), found[5]
    rest = rename(rest, RESNET) if kind == "resnets" else rest
    part = 0 if kind == "resnets" else 1
    if way == "mid_block":
        return f"middle_block.{2 * index if kind == 'resnets' else 1}.{rest}"
    first = block * (layers + 1)
    if way == "down_blocks":
        if kind == "downsamplers":
            return f"input_blocks.{1 + first + layers}.0.{rest.replace('conv.', 'op.')}"
        return f"input_blocks.{1 + first + index}.{part}.{rest}"
    if kind == "upsamplers":
        return f"output_blocks.{first + layers}.{2 if attends[block] else 1}.{rest}"
    return f"output_blocks.{first + index}.{part}.{rest}"


def vae_key(name: str, blocks: int) -> str:
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d+)\.resnets\.", lambda found: f"up.{blocks - 1 - int(found[1])}.block.", name)
    name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda found: f"up.{blocks - 1 - int(found[1])}.upsample", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", name)
    found = re.fullmatch(r"(.*)mid_block\.attentions\.0\.(.*)", name)
    return f"{found[1]}mid.attn_1.{rename(found[2], VAE_ATTENTION)}" if found else name


def open_clip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """OpenCLIP's names, with query, key and value in one matrix."""
    state = {name.removeprefix("text_model."): tensor for name, tensor in state.items()}
    found = {
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "positional_embedding": state["embeddings.position_embedding.weight"],
        "ln_final.weight": state["final_layer_norm.weight"],
        "ln_final.bias": state["final_layer_norm.bias"],
    }
    if "text_projection.weight" in state:
        found["text_projection"] = state["text_projection.weight"].T.contiguous()
    for name, tensor in state.items():
        layer = re.fullmatch(r"encoder\.layers\.(\d+)\.(.*)", name)
        if layer and ".q_proj." in name:
            three = [state[name.replace(".q_proj.", f".{which}_proj.")] for which in "qkv"]
            found[f"transformer.resblocks.{layer[1]}.attn.in_proj_{name.rsplit('.')[-1]}"] = torch.cat(three)
        elif layer and not re.search(r"\.[kv]_proj\.", name):
            found[f"transformer.resblocks.{layer[1]}.{rename(layer[2], OPEN_CLIP_LAYER)}"] = tensor
    return found


def original_layout(pipeline: Any) -> dict[str, Tensor]:
    """All tensors of a StableDiffusion(XL)Pipeline under the names of the published checkpoints."""
    layers = pipeline.unet.config.layers_per_block
    attends = ["Attn" in kind for kind in pipeline.unet.config.up_block_types]
    blocks = len(pipeline.vae.config.block_out_channels)
    found = {
        f"model.diffusion_model.{unet_key(name, layers, attends)}": tensor
        for name, tensor in pipeline.unet.state_dict().items()
    }
    for name, tensor in pipeline.vae.state_dict().items():
        key = vae_key(name, blocks)
        convolution = ".attn_1." in key and ".norm." not in key and key.endswith(".weight")
        found[f"first_stage_model.{key}"] = tensor[:, :, None, None] if convolution else tensor
    encoders = [pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None)]
    starts = ["conditioner.embedders.0.", "conditioner.embedders.1."] if encoders[1] else ["cond_stage_model."]
    for encoder, start in zip(filter(None, encoders), starts, strict=True):
        state = encoder.state_dict()
        if encoder.config.hidden_act == "quick_gelu":
            found |= {f"{start}transformer.text_model.{name}": tensor for name, tensor in state.items()}
        else:
            found |= {f"{start}model.{name}": tensor for name, tensor in open_clip(state).items()}
    return {name: tensor.contiguous() for name, tensor in found.items()}
