"""Where the weights of a model come from: a diffusers folder, the hub, or a single checkpoint file."""

from __future__ import annotations

import gc
import json
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..config.bundled import resolve
from ..config.model import ModelConfig
from ..errors import BadInput
from ..files.wording import flag
from .checkpoint_files import check_readable, check_whole, checkpoint_keys, with_names_of_now

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

# parts of a pipeline that no training needs
UNUSED = ("safety_checker", "feature_extractor", "image_encoder")

# how the names of parts start that have no weights
WITHOUT_WEIGHTS = ("tokenizer", "scheduler")


def pipeline_class(config: ModelConfig, layouts: Mapping[str, str]) -> str:
    """The name of the pipeline class that runs a model; raises BadInput when there is no such model.

    layouts: how the names of tensors start in a checkpoint file of the original layout -> pipeline class.
    """
    source = resolve(config.model)
    if not Path(source).is_file():
        return model_index(config, source)["_class_name"]
    if config.model_config:
        return model_index(config, config.model_config, "model_config")["_class_name"]
    keys = checkpoint_keys(config, Path(source))
    for start, name in layouts.items():
        if any(key.startswith(start) for key in keys):
            return name
    raise BadInput(
        f"{flag('model', source)} holds no whole Stable Diffusion model (no text encoder is in it): give the "
        "checkpoint "
        "that a WebUI loads, not a LoRA, a VAE or a bare U-Net"
    )


def load_pipeline(
    name: str, config: ModelConfig, dtype: torch.dtype, leave_out: Sequence[str] = ()
) -> DiffusionPipeline:
    """The pipeline with its weights in `dtype`, the VAE's in float32; raises BadInput, naming what is missing."""
    source = resolve(config.model)
    path = Path(source)
    index = {} if path.is_file() else model_index(config, source)
    if path.is_dir():
        check_parts(path, index, ("vae",) if config.vae else ())
    try:
        with uncollected(), quiet_loading():
            import diffusers

            kind = getattr(diffusers, name)
            left_out = {**without_unused(kind), **dict.fromkeys([*missing_in(index), *leave_out])}
            if config.vae and "vae" not in leave_out:
                left_out["vae"] = load_own_vae(config)
            if path.is_file():
                pipeline = load_checkpoint(kind, config, path, dtype, left_out)
            else:
                pipeline = kind.from_pretrained(
                    source,
                    dtype={"default": dtype, "vae": torch.float32},
                    revision=config.revision,
                    variant=config.variant,
                    cache_dir=config.cache_dir,
                    local_files_only=config.offline,
                    **left_out,
                )
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        if isinstance(error, NotImplementedError):  # torch's complaint about a module that got no weights
            reason = ["weights of its denoiser or VAE are missing"]
        raise BadInput(f"{flag('model', config.model)} cannot be loaded: {reason[0]}") from None
    for part, module in pipeline.components.items():
        if isinstance(module, torch.nn.Module) and any(tensor.is_meta for tensor in module.parameters()):
            raise BadInput(f"{flag('model', config.model)} is not complete: weights of its {part} are missing")
    return pipeline


def load_vae(pipeline: DiffusionPipeline, config: ModelConfig) -> Callable[[], Any]:
    """What loads the VAE of a pipeline once more, as it was loaded first."""
    others = [part for part in pipeline.components if part not in ("vae", "scheduler", *UNUSED)]
    name = type(pipeline).__name__
    return lambda: load_pipeline(name, config, torch.float32, leave_out=others).vae


def loads_embeddings(pipeline: DiffusionPipeline) -> bool:
    """Whether a pipeline has `load_textual_inversion`, and finds the further vectors of a token in prompts itself."""
    from diffusers.loaders import TextualInversionLoaderMixin

    return isinstance(pipeline, TextualInversionLoaderMixin)


def load_checkpoint(
    kind: Any, config: ModelConfig, path: Path, dtype: torch.dtype, left_out: dict[str, Any]
) -> DiffusionPipeline:
    """A pipeline from a single file in the original layout.

    Checkpoints of v-prediction fine-tunes carry an empty tensor `v_pred`, and `ztsnr` for zero terminal SNR.
    """
    keys = checkpoint_keys(config, path)
    check_whole(config, keys)
    with with_names_of_now(path, keys) as file:
        pipeline = kind.from_single_file(
            str(file),
            config=config.model_config,
            dtype=dtype,
            revision=config.revision if not config.model_config else None,
            cache_dir=config.cache_dir,
            local_files_only=config.offline,
            **left_out,
        )
    if "v_pred" in keys:
        changes = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": "ztsnr" in keys}
        pipeline.scheduler = changed_scheduler(pipeline.scheduler, changes)
    return pipeline


def load_own_vae(config: ModelConfig) -> Any:
    """The VAE that the config names, in float32: of a folder, of the `vae` in one, of the hub, or of a file."""
    from diffusers import AutoencoderKL

    source = str(config.vae)
    path = Path(source)
    how: dict[str, Any] = {"cache_dir": config.cache_dir, "local_files_only": config.offline}
    if path.is_file():
        check_readable(config, path, "vae")
        if config.model_config:
            how |= {"config": config.model_config, "subfolder": "vae"}
        return AutoencoderKL.from_single_file(source, torch_dtype=torch.float32, **how)
    if (path / "vae").is_dir():
        how["subfolder"] = "vae"
    return AutoencoderKL.from_pretrained(source, torch_dtype=torch.float32, **how)


def changed_scheduler(scheduler: Any, changes: Mapping[str, Any]) -> Any:
    """The same scheduler with changes in its config.

    They are keyword arguments: diffusers takes an entry that is in the config but was not in the model's file for a
    default, and leaves it out when another scheduler is made of the config.
    """
    return type(scheduler).from_config(scheduler.config, **changes)


def without_unused(kind: Any) -> dict[str, Any]:
    """Arguments that leave out what training does not need."""
    optional = set(kind._optional_components)
    arguments: dict[str, Any] = {part: None for part in UNUSED if part in optional}
    if "safety_checker" in arguments:
        arguments["requires_safety_checker"] = False
    return arguments


def model_index(config: ModelConfig, source: str, setting: str = "model") -> dict[str, Any]:
    """The contents of model_index.json; downloads it when `source` is a hub id."""
    folder = Path(source)
    shown = flag(setting, source)
    if folder.is_dir():
        path = folder / "model_index.json"
        if not path.is_file():
            raise BadInput(f"{shown} is no diffusers folder: model_index.json is missing")
    elif folder.exists() or source.count("/") != 1 or source.startswith((".", "/")):
        raise BadInput(
            f"{shown} does not exist; give a diffusers folder, a checkpoint file or a hub id such as owner/name"
        )
    else:
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

        try:
            path = model_file(config, source, "model_index.json")
        except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise BadInput(f"{shown} is no folder here, and the hub did not give it: {reason}") from None
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise BadInput(f"{path} is not JSON: the model folder is damaged") from None
    if not isinstance(index, dict) or not isinstance(index.get("_class_name"), str):
        raise BadInput(f"{path} names no pipeline class: the model folder is damaged")
    return index


def model_file(config: ModelConfig, source: str, name: str) -> Path:
    """The place of a file of a model; downloads it when `source` is a hub id, and raises what the hub raises."""
    if Path(source).is_dir():
        return Path(source) / name
    from huggingface_hub import hf_hub_download

    return Path(
        hf_hub_download(
            source,
            name,
            revision=config.revision,
            cache_dir=config.cache_dir,
            local_files_only=config.offline,
        )
    )


def parts_in(index: Mapping[str, Any]) -> dict[str, str]:
    """The parts that training needs of those that a model_index.json lists, name -> class."""
    return {
        part: made_of[1]
        for part, made_of in index.items()
        if not part.startswith("_") and part not in UNUSED and isinstance(made_of, list) and made_of[0] is not None
    }


def missing_in(index: Mapping[str, Any]) -> list[str]:
    """The parts that a pipeline could have and a model_index.json says it has not: SD 3's T5 for one."""
    return [part for part, made_of in index.items() if isinstance(made_of, list) and made_of[0] is None]


def check_parts(folder: Path, index: Mapping[str, Any], given: Collection[str]) -> None:
    """Raises BadInput when a folder lacks a part that its model_index.json lists, or a part lacks its weights.

    given: parts that come from elsewhere.
    """
    for part in (part for part in parts_in(index) if part not in given):
        files = [file.name for file in (folder / part).glob("*")]
        if not files:
            raise BadInput(f"{flag('model', folder)} is not complete: its {part} is missing")
        if part.startswith(WITHOUT_WEIGHTS):
            continue
        if not any(name.endswith((".safetensors", ".bin")) for name in files):
            raise BadInput(f"{flag('model', folder)} is not complete: its {part} has no weights")
        if "config.json" not in files:
            raise BadInput(f"{flag('model', folder)} is not complete: its {part} has no config.json")


@contextmanager
def uncollected() -> Iterator[None]:
    """Without garbage collection, which takes a quarter of the loading time and finds nothing among the new objects."""
    if not gc.isenabled() or gc.get_freeze_count():  # the program manages the collector itself
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()  # both together: all new objects count as old, and the next collections do not look through them
        gc.enable()


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Without the libraries' bars, and their notes about parts that nobody here uses and names they will change."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    libraries = (diffusers_logging, transformers_logging)
    levels = [library.get_verbosity() for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        for library, level in zip(libraries, levels, strict=True):
            library.set_verbosity(level)
            library.enable_progress_bar()
