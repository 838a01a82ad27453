"""Where the weights of a model come from: a diffusers folder, the hub, or a single checkpoint file."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..config.bundled import resolve
from ..config.model import ModelConfig
from ..errors import BadInput
from ..files.wording import flag
from .checkpoint_files import check_readable, check_whole, checkpoint_keys, with_names_of_now
from .model_index import UNUSED, check_parts, missing_in, model_index, parts_in

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


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
            elif hasattr(kind, "load_components"):
                pipeline = load_modular(
                    kind, config, source, dtype, [part for part in parts_in(index) if part not in left_out]
                )
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


def load_modular(kind: Any, config: ModelConfig, source: str, dtype: torch.dtype, parts: Sequence[str]) -> Any:
    """A modular pipeline with these of its parts, all from `source`: its index may name another place.

    diffusers only warns of what it cannot load: raises OSError.
    """
    hub = {"revision": config.revision, "cache_dir": config.cache_dir, "local_files_only": config.offline}
    pipeline = kind.from_pretrained(source, **hub)
    pipeline.load_components(
        list(parts),
        pretrained_model_name_or_path=source,
        variant=config.variant,
        dtype={"default": dtype, "vae": torch.float32},
        **hub,
    )
    for part in parts:
        if getattr(pipeline, part, None) is None:
            raise OSError(f"its {part} cannot be loaded")
    return pipeline


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
    optional = set(getattr(kind, "_optional_components", ()))  # a modular pipeline lists what it has
    arguments: dict[str, Any] = {part: None for part in UNUSED if part in optional}
    if "safety_checker" in arguments:
        arguments["requires_safety_checker"] = False
    return arguments


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
