"""What each program takes of a file, as its loader has it, and that it takes what is written for it."""

import base64
import json
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from ti_trainer.embedding_files import Embedding, write_embedding
from ti_trainer.embedding_files.readers import where_it_goes

Taken = dict[int, Tensor]  # width -> (n, d), as the program puts it in front of its encoders


def rows(count: int = 3, width: int = 768) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(width))


def by_width(*tensors: Tensor) -> Taken:
    for tensor in tensors:
        assert tensor.ndim == 2
    return {tensor.shape[1]: tensor for tensor in tensors}


class CarefulUnpickler(pickle.Unpickler):
    """A1111's check of a pickle before it opens it: these names and no other."""

    def find_class(self, module: str, name: str) -> Any:
        assert (module, name) in {
            ("collections", "OrderedDict"),
            ("torch._utils", "_rebuild_tensor_v2"),
            ("torch", "FloatStorage"),
        }
        return OrderedDict if name == "OrderedDict" else getattr(torch if module == "torch" else torch._utils, name)

    def persistent_load(self, saved: tuple[Any, ...]) -> Any:
        assert saved[0] == "storage"
        return torch.storage.TypedStorage(_internal=True)


def a1111(path: Path) -> Taken:
    """A pickle of five parts with one placeholder, a PNG's text, clip_g beside clip_l, or one key."""
    data: Any
    if path.suffix == ".png":
        with Image.open(path) as card:
            data = json.loads(base64.b64decode(card.text["sd-ti-embedding"]))
        assert data["name"] == "my-cat"
        (lists,) = data["string_to_param"].values()
        return by_width(torch.tensor(lists["TORCHTENSOR"]))
    if path.suffix == ".pt":
        with path.open("rb") as file:
            for _ in range(5):
                CarefulUnpickler(file).load()
        (tensor,) = torch.load(path, weights_only=True)["string_to_param"].values()
        return by_width(tensor)
    data = load_file(path)
    if {"clip_g", "clip_l"} <= set(data):
        return by_width(data["clip_l"], data["clip_g"])
    (tensor,) = data.values()
    return by_width(tensor)


def comfyui(path: Path) -> Taken:
    """For each encoder of the model its own key, or else the first tensor, dropped where its width is wrong."""
    data = load_file(path)
    encoders = path.parent.name.split("-")
    asked = [(data.get(slot, next(iter(data.values()))), WIDTHS[slot]) for slot in encoders]
    return by_width(*(tensor for tensor, width in asked if tensor.shape[1] == width))


def invokeai(path: Path) -> Taken:
    data = load_file(path)
    if {"clip_g", "clip_l"} <= set(data):
        return by_width(data["clip_l"], data["clip_g"])
    return by_width(data["emb_params"])


def sdnext(path: Path) -> Taken:
    """Any keys, by width; pickles with string_to_param alone."""
    if path.suffix == ".pt":
        return by_width(torch.load(path, weights_only=True)["string_to_param"]["*"])
    return by_width(*load_file(path).values())


def kohya(path: Path) -> Taken:
    data = load_file(path)
    return invokeai(path) if "clip_g" in data else by_width(next(iter(data.values())))


def onetrainer(path: Path) -> Taken:
    data = load_file(path)
    if "emp_params" in data:
        return by_width(data["emp_params"])
    return by_width(*(data[key] for key in ("clip_l", "clip_g", "t5") if key in data))


def diffusers(path: Path) -> Taken:
    """One key, which is the token, in a file for each encoder."""
    taken: Taken = {}
    for number in ("", "_2", "_3"):
        file = path.with_name(f"{path.stem}{number}{path.suffix}")
        if file.exists():
            ((key, tensor),) = load_file(file).items()
            assert key == "<my-cat>"
            taken |= by_width(tensor)
    return taken


def diffusers_pickle(path: Path) -> Taken:
    data = torch.load(path, weights_only=True)
    assert data["name"] == "my-cat"
    return by_width(data["string_to_param"]["*"])


SD1, SD2, SDXL = ("clip_l",), ("clip_h",), ("clip_l", "clip_g")
SD3, FLUX, CHROMA = ("clip_l", "clip_g", "t5xxl"), ("clip_l", "t5xxl"), ("t5xxl",)
QWEN = (("qwen3_06b",), ("qwen3_4b",), ("qwen3_8b",))
WIDTHS = {"clip_l": 768, "clip_h": 1024, "clip_g": 1280, "t5xxl": 4096}
WIDTHS |= {"qwen3_06b": 1024, "qwen3_4b": 2560, "qwen3_8b": 4096}


@pytest.mark.parametrize(
    ("program", "file_format", "suffix", "models"),
    [
        (a1111, "webui", ".safetensors", (SD1, SD2, SDXL)),
        (a1111, "a1111-pt", ".pt", (SD1, SD2)),
        (a1111, "png-card", ".png", (SD1, SD2)),
        (comfyui, "webui", ".safetensors", (SD1, SD2, SDXL, SD3, FLUX, CHROMA, *QWEN)),
        (invokeai, "webui", ".safetensors", (SD1, SD2, SDXL)),
        (sdnext, "webui", ".safetensors", (SD1, SD2, SDXL)),
        (sdnext, "a1111-pt", ".pt", (SD1, SD2)),
        (kohya, "kohya", ".safetensors", (SD1, SD2, SDXL)),
        (kohya, "webui", ".safetensors", (SD1, SD2, SDXL)),
        (onetrainer, "onetrainer", ".safetensors", (SD1, SD2, SDXL, SD3, FLUX, CHROMA)),
        (diffusers, "diffusers", ".safetensors", (SD1, SD2, SDXL, SD3, FLUX)),  # invoke-training has this rule too
        (diffusers_pickle, "a1111-pt", ".pt", (SD1, SD2)),
    ],
)
@pytest.mark.parametrize("count", [1, 3])
def test_each_program_takes_its_file(
    tmp_path: Path,
    program: Callable[[Path], Taken],
    file_format: str,
    suffix: str,
    models: tuple[tuple[str, ...], ...],
    count: int,
) -> None:
    for model in models:
        vectors = {slot: rows(count, WIDTHS[slot]) for slot in model}
        path = tmp_path / "-".join(model) / f"my-cat{suffix}"
        write_embedding(Embedding("<my-cat>", vectors), path, file_format)
        taken = program(path)
        assert set(taken) == {WIDTHS[slot] for slot in model}
        assert all(torch.equal(taken[WIDTHS[slot]], vectors[slot]) for slot in model)


@pytest.mark.parametrize("left_out", ["clip_l", "clip_g", "t5xxl"])
def test_comfyui_gives_no_encoder_anothers_rows(tmp_path: Path, left_out: str) -> None:
    """Where a file has none for it, it takes the first tensor, and drops it because it is not as wide."""
    vectors = {slot: rows(2, WIDTHS[slot]) for slot in SD3 if slot != left_out}
    path = tmp_path / "-".join(SD3) / "my-cat.safetensors"
    write_embedding(Embedding("<my-cat>", vectors), path, "webui")
    assert set(comfyui(path)) == {WIDTHS[slot] for slot in vectors}


@pytest.mark.parametrize(
    ("slots", "architecture", "programs"),
    [
        (SD1, "stable-diffusion-v1", "A1111, Forge; SD.Next; ComfyUI; InvokeAI"),
        (SDXL, "stable-diffusion-xl-v1-base", "A1111, Forge; SD.Next; ComfyUI; InvokeAI"),
        (SD3, "stable-diffusion-3", "A1111; ComfyUI"),
        (FLUX, "flux-1-dev", "ComfyUI"),
        (QWEN[0], "anima", "ComfyUI"),
    ],
)
def test_programs_that_read_a_family(slots: tuple[str, ...], architecture: str, programs: str) -> None:
    found = where_it_goes({slot: WIDTHS[slot] for slot in slots}, architecture, "my-cat")
    assert "; ".join(program for program, _ in found) == programs
    assert where_it_goes({"clip_l": 32}, architecture, "my-cat")[0][0] == "WebUIs"
