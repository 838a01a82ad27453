"""What a model's small files say of it, without its weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.bundled import resolve
from ..config.config import ModelConfig
from ..errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class ModelFacts:
    """A tokenizer and sizes in pixels."""

    tokenizer: PreTrainedTokenizerBase
    resolution: int  # at which the model was trained
    bucket_step: int  # what sides of pictures must be multiples of where they are no squares

    @property
    def window(self) -> int:
        """Tokens of a caption that the model reads."""
        return self.tokenizer.model_max_length - 2


def read_model_facts(config: ModelConfig) -> ModelFacts:
    """The facts of a diffusers folder, of a hub id, or of a checkpoint file's --model_config.

    Raises BadInput when there is no such model or when the files are not there.
    """
    source = resolve(config.model)
    if Path(source).is_file():
        if config.model_config is None:
            raise BadInput(f"--model {source} has no tokenizer in it; add --model_config with a folder or hub id")
        source = config.model_config
    unet, vae = (read_config(config, source, part) for part in ("unet", "vae"))
    pixels_per_latent = 2 ** (len(vae["block_out_channels"]) - 1)
    return ModelFacts(
        tokenizer=load_tokenizer(config, source),
        resolution=unet["sample_size"] * pixels_per_latent,
        bucket_step=pixels_per_latent * 2 ** (len(unet["block_out_channels"]) - 1),
    )


def read_config(config: ModelConfig, source: str, part: str) -> dict[str, Any]:
    """The config.json of a part of a pipeline."""
    path = Path(source) / part / "config.json"
    try:
        if not Path(source).is_dir():
            from huggingface_hub import hf_hub_download

            path = Path(
                hf_hub_download(
                    source,
                    f"{part}/config.json",
                    revision=config.revision,
                    cache_dir=config.cache_dir,
                    local_files_only=config.offline,
                )
            )
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # what the hub raises is of these kinds
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadInput(f"--model {source} has no {part}/config.json that can be read: {reason}") from None


def load_tokenizer(config: ModelConfig, source: str) -> PreTrainedTokenizerBase:
    from transformers import CLIPTokenizer

    try:
        tokenizer = CLIPTokenizer.from_pretrained(
            source,
            subfolder="tokenizer",
            revision=config.revision,
            cache_dir=config.cache_dir,
            local_files_only=config.offline,
        )
    except (OSError, ValueError) as error:
        raise BadInput(f"--model {source} has no tokenizer that can be loaded: {str(error).splitlines()[0]}") from None
    if len(tokenizer) < 2 * 256:  # fewer than the bytes within and at the end of a word: transformers found no file
        raise BadInput(
            f"--model {source} has no tokenizer that can be loaded: its folder 'tokenizer' has no vocabulary"
        )
    return tokenizer
