"""Which frozen model is trained on or drawn with, and how it is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from .bundled import TINY_SD
from .fields import Settings, setting


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Settings):
    """Which model, and how it is loaded."""

    model: str = setting("", shared=True, for_dataset=True, first=True, metavar="MODEL", group="model")
    """Diffusers folder or hub id (docs/models.md lists the kinds), or checkpoint file (.safetensors) of SD 1.x, 2.x or
    SDXL; for the bundled pictures the bundled miniature, tiny-sd, by default."""

    models_dir: str | None = setting(None, start=True, training_only=True, metavar="DIR")
    """Folder with models; where none is named, the message that asks for one lists what is in it."""

    revision: str | None = setting(None, shared=True, for_dataset=True)
    """Branch, tag or commit of a hub model."""

    variant: str | None = setting(None, shared=True)
    """Variant of the weights in a folder or on the hub, such as "fp16"."""

    cache_dir: str | None = setting(None, shared=True, for_dataset=True, metavar="DIR")
    """Folder for what the hub gives; by default the hub's own cache."""

    offline: bool = setting(False, shared=True, for_dataset=True)
    """Never ask the hub: take what was downloaded before."""

    model_config: str | None = setting(None, shared=True, for_dataset=True)
    """For a checkpoint file: a diffusers folder or hub id of the same kind of model, for its configs and tokenizers
    (its weights are not read); by default the published model's, from the hub or its cache."""

    vae: str | None = setting(None, shared=True, metavar="VAE")
    """Another VAE than the model's, or one for a checkpoint file without: a folder, a hub id, or a file."""

    allow_pickle: bool = setting(False, shared=True)
    """Read a .ckpt file, which is a pickle: only ones that you trust."""

    prediction_type: str | None = setting(None, choices=("epsilon", "v_prediction"), shared=True)
    """What the U-Net predicts, if the model's own scheduler config does not say it."""

    zero_terminal_snr: bool | None = setting(None, shared=True)
    """Whether the last timestep is pure noise (Lin et al. 2023), if the model's scheduler config does not say it."""

    flow_shift: float | None = setting(None, low=0.01, high=100, shared=True)
    """Of SD 3, Flux and other flows: how far noise levels are shifted towards noise in training; by default as its
    scheduler says, by the size of the pictures where that counts."""

    train_slots: tuple[str, ...] = setting((), shared=True, exported=True)
    """Which text encoders of SD 3 and Flux get rows, such as clip_l,clip_g; by default all. The others read captions
    without the token, as ComfyUI does where a file has no rows for them."""

    clip_skip: int = setting(0, low=0, high=100, shared=True, exported=True)
    """Last layers of the text encoders to leave out; "clip skip 2" of a WebUI is 1 here."""

    long_captions: str = setting(
        "truncate", choices=("truncate", "chunk"), shared=True, exported=True, for_dataset=True
    )
    """What to do with captions beyond the window of 77 tokens: truncate them, as diffusers does, or chunk: read several
    windows, as WebUIs do."""

    gradient_checkpointing: bool | None = setting(None, shared=True, training_only=True)
    """Compute the activations of the denoiser, and of T5 and Qwen, twice instead of keeping them: less memory, a third
    more time; by default where the memory is too small otherwise."""

    quantize: str | None = setting(None, choices=("8bit", "4bit"), shared=True, exported=True)
    """Round the frozen weights of the denoiser, of T5 and of Qwen to so many bits, for a GPU that is too small for them
    (bitsandbytes, extra [quant]). What that costs in quality has not been measured."""

    lean_unet: bool = setting(True, shared=True, training_only=True)
    """On CPUs: a U-Net that keeps nothing for gradients of its weights, which stay frozen, and little that is cheap to
    compute again; its convolutions are products of matrices where that is faster. The same numbers to rounding."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.model:
            object.__setattr__(self, "model", self.default_model())

    def default_model(self) -> str:
        """The model where none is named; raises BadInput where one has to be."""
        return TINY_SD
