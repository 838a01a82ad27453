"""Which models lie on this machine: for a message that asks for one. Nothing is loaded."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from ..errors import BadInput
from .reading import YAML, open_regular, read

# Where WebUIs keep checkpoints, from their own folder.
CHECKPOINTS = ("models/Stable-diffusion", "models/checkpoints", "models/StableDiffusion", "models")
WEBUIS = (
    *("stable-diffusion-webui", "stable-diffusion-webui-forge", "ComfyUI", "automatic", "sdnext", "invokeai"),
    *("SwarmUI", "Fooocus"),
)
INDEXES = ("model_index.json", "modular_model_index.json")
# how the names of pipelines begin that are trained
PIPELINES = ("StableDiffusion", "FluxPipeline", "Flux2Klein", "Chroma", "Anima")
# What names of tensors begin with in a checkpoint of the original layout; its header is that long at most.
DENOISER = b'"model.diffusion_model.'
HEADER = 2**22  # bytes that are looked at
SECONDS = 2.0  # that looking may take: a folder may be on a slow network
DEPTH = 2  # of folders below a place


@cache  # a list of concepts may ask for each of its rows
def models_on_this_machine(models_dir: str | None = None, cache_dir: str | None = None) -> tuple[str, ...]:
    """What `--model` may be here, each once: hub ids in the cache, folders of diffusers, and checkpoint files.

    models_dir: a further folder to look into; cache_dir: of the hub, None for its own.
    """
    until = time.monotonic() + SECONDS
    found = list(cached_models(cache_dir))
    places = [Path(models_dir)] if models_dir else []
    for root in (Path("."), Path(".."), Path.home()):
        places += [root / webui / below for webui in WEBUIS for below in CHECKPOINTS]
    places += [Path("models"), Path("../models")]
    found += [str(model) for place in places for model in models_below(place, DEPTH, until)]
    return tuple(dict.fromkeys(found))


def cached_models(cache_dir: str | None) -> Iterator[str]:
    """Ids of pipelines in the hub's cache."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    with suppress(CacheNotFound, OSError, ValueError):
        for repo in sorted(scan_cache_dir(cache_dir).repos, key=lambda each: each.repo_id):
            files = {file.file_name: file.file_path for revision in repo.revisions for file in revision.files}
            if repo.repo_type == "model" and any(is_pipeline(files[name]) for name in INDEXES if name in files):
                yield repo.repo_id


def models_below(place: Path, depth: int, until: float) -> Iterator[Path]:
    """The models in a folder and those below it; until: when to stop looking, by `time.monotonic`."""
    with suppress(OSError):
        if any(is_pipeline(place / name) for name in INDEXES):
            yield place
            return
        for entry in sorted(os.scandir(place), key=lambda each: each.name):
            if time.monotonic() > until:
                return
            path = Path(entry.path)
            if entry.is_dir():
                if depth:
                    yield from models_below(path, depth - 1, until)
            elif entry.name.endswith(".safetensors") and is_checkpoint(path):
                yield path


def is_pipeline(index: Path) -> bool:
    """Whether a file says that a folder holds a pipeline that is trained."""
    with suppress(OSError, BadInput, ValueError):
        described = json.loads(read(index, YAML))
        name = described.get("_class_name") if isinstance(described, dict) else None
        return str(name).startswith(PIPELINES)
    return False


def is_checkpoint(path: Path) -> bool:
    """Whether the header of a .safetensors file has a denoiser's tensors."""
    with suppress(OSError, BadInput), open_regular(path) as file:
        return DENOISER in file.read(HEADER)
    return False
