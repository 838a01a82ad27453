"""What a run is asked to do: frozen dataclasses, checked once, when they are made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import BadInput
from ..files.names import MAX_VECTORS, check_token
from .bundled import MY_CAT, TINY_SD

CAPTION_SOURCES = ("auto", "templates", "filename")


@dataclass(frozen=True)
class Concept:
    """What is learned: a token, its pictures, its rows."""

    token: str
    """The new word, for example "<my-cat>"; the file is named after it."""

    images: str = MY_CAT
    """Pictures: a folder (a text file beside a picture, cat.txt for cat.png, is its caption, and metadata.jsonl or
    metadata.csv may hold all; pictures in a subfolder called 10_NAME count 10 times), a .jsonl file with "file_name"
    and "text" in each line, or, with the extra [datasets], a parquet or arrow file, a saved dataset, or a hub id."""

    image_column: str | None = None
    """Column of the pictures in a .jsonl file, metadata file or dataset; found by its name or type by default."""

    caption_column: str | None = None
    """Column of the captions there; "text" or "caption" by default."""

    init: str = "auto"
    """Where the rows start: a word, a phrase (a row for each of its tokens), "random", "file:PATH", or "auto"
    (the last word of the token that the model knows: "cat" for "<my-cat>")."""

    num_vectors: int | None = None
    """Rows to learn; by default 4, or as many as the phrase or the file of `init` has."""

    captions: str = "auto"
    """Where captions come from: "auto" (the picture's own, else templates), "templates", or "filename"."""

    templates: str = "object"
    """Captions of pictures that have none: "object", "style", "person", or a text file in any language with {token} (or
    [name]) in each line; [filewords] there is the picture's own caption or, without one, the words of its file name."""

    add_token: bool = False
    """Put the token in front of captions that lack it: "TOKEN, caption"."""

    shuffle_tags: bool = False
    """Draw another order of a caption's comma-separated parts at each step."""

    keep_tags: int = 0
    """That many first parts of a caption stay where they are, and are not dropped."""

    tag_dropout: float = 0.0
    """Probability with which a part of a caption is left out at a step; the part with the token never is."""

    caption_dropout: float = 0.0
    """Probability with which a caption is the bare token at a step; an empty one would train nothing."""

    masks: str = "auto"
    """Which part of a picture is the subject: "auto" (cat.mask.png beside cat.png, where there is one), "alpha" (the
    picture's alpha channel), "none", or a folder with pictures of the same names; white is the subject."""

    alpha_color: str = "white"
    """What shows through transparent parts of a picture: a colour's name or #rrggbb."""

    class_images: str | None = None
    """Pictures of the class, such as other dogs than yours, from the same kinds of sources as `images`: they keep the
    token close to its class. Their captions are the templates, because one without the token would train nothing."""

    class_weight: float = 0.1
    """Weight of the loss of `class_images`, where the concept's own pictures have 1."""

    tune: bool = False
    """The token is a word that the model knows: train its rows, and export them as "<WORD-tuned>"."""

    def __post_init__(self) -> None:
        check_token(self.token, known_word=self.tune)
        check_ranges(self, CONCEPT_RANGES)
        if self.num_vectors is not None and not 1 <= self.num_vectors <= MAX_VECTORS:
            raise BadInput(f"--num_vectors is {self.num_vectors}; choose 1 to {MAX_VECTORS}, most concepts need 1 to 4")
        if self.captions not in CAPTION_SOURCES:
            raise BadInput(f"--captions is '{self.captions}'; choose one of {', '.join(CAPTION_SOURCES)}")
        if self.tune and (self.num_vectors is not None or self.init != "auto"):
            raise BadInput(f"--tune trains the rows that '{self.token}' has: leave out --init and --num_vectors")

    @property
    def stem(self) -> str:
        """The name without brackets, for files: "<my-cat>" -> "my-cat"."""
        return self.trigger.strip("<>")

    @property
    def trigger(self) -> str:
        """The word under which the rows are exported."""
        return f"<{self.token.strip('<>')}-tuned>" if self.tune else self.token


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which model, and how it is loaded."""

    model: str = TINY_SD
    """Diffusers folder, hub id, or checkpoint file (.safetensors) of a Stable Diffusion 1.x, 2.x or XL model; the
    bundled miniature by default."""

    revision: str | None = None
    """Branch, tag or commit of a hub model."""

    variant: str | None = None
    """Variant of the weights in a folder or on the hub, such as "fp16"."""

    cache_dir: str | None = None
    """Folder for what the hub gives; by default the hub's own cache."""

    offline: bool = False
    """Never ask the hub: take what was downloaded before."""

    model_config: str | None = None
    """For a checkpoint file: a diffusers folder or hub id of the same kind of model, for its configs and tokenizers
    (its weights are not read); by default the published model's, from the hub or its cache."""

    allow_pickle: bool = False
    """Read a .ckpt file, which is a pickle: only ones that you trust."""

    prediction_type: str | None = None
    """What the U-Net predicts, epsilon or v_prediction, if the model's own scheduler config does not say it."""

    zero_terminal_snr: bool | None = None
    """Whether the last timestep is pure noise (Lin et al. 2023), if the model's scheduler config does not say it."""

    clip_skip: int = 0
    """Last layers of the text encoders to leave out; "clip skip 2" of a WebUI is 1 here."""

    long_captions: str = "truncate"
    """Beyond the window of 77 tokens: truncate (as diffusers does) or chunk (read several windows, as WebUIs do)."""

    gradient_checkpointing: bool | None = None
    """Compute the U-Net's activations twice instead of keeping them: less memory, a third more time; by default where
    the memory is too small otherwise."""

    lean_unet: bool = True
    """On CPUs: a U-Net that keeps nothing for gradients of its weights, which stay frozen, and little that is cheap to
    compute again; its convolutions are products of matrices where that is faster. The same numbers to rounding."""

    def __post_init__(self) -> None:
        check_ranges(self, RANGES)
        for name, choices in CHOICES.items():
            value = getattr(self, name, None)
            if value is not None and value not in choices:
                raise BadInput(f"--{name} is '{value}'; choose one of {', '.join(choices)}")


@dataclass(frozen=True)
class TrainConfig(ModelConfig):
    """One run: what is learned, and how."""

    concept: Concept
    """What is learned."""

    output: str = "runs"
    """Folder in which the run gets its own folder: a local one, or where fsspec leads (s3://bucket/runs)."""

    name: str | None = None
    """Name of the run's folder; by default the token without brackets."""

    steps: int = 300
    """Optimiser steps."""

    batch_size: int = 8
    """Examples of the concept in a step, over all processes together."""

    micro_batch_size: int | None = None
    """Examples that go through the U-Net at once, of all concepts that are trained together; by default as many as
    keep the device busy and fit its memory. The rows are the same to rounding."""

    lr: float = 1.5e-2
    """Learning rate of the rows, the same for every batch size."""

    lr_schedule: str = "constant"
    """constant, linear, cosine, or piecewise:STEP=FACTOR,... (piecewise:100=0.5,200=0.1)."""

    warmup_steps: int = 10
    """Steps over which the learning rate rises from 0."""

    optimizer: str = "adamw"
    """Update rule of the rows."""

    weight_decay: float = 0.0
    """Decoupled weight decay of the rows; 0 leaves their length to the loss."""

    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm; 0 switches clipping off."""

    weighting: str = "uniform"
    """Weight of a timestep in the loss: uniform, min_snr, or debiased."""

    gamma: float = 5.0
    """Signal-to-noise ratio above which min_snr lets timesteps count less."""

    timesteps: str = "uniform"
    """Which timesteps are drawn: uniform, late (more often the noisier they are), or range:LOW-HIGH in fractions of
    the schedule (range:0.5-1 is its noisy half)."""

    resolution: int | None = None
    """Pictures are scaled and cropped to squares of this many pixels; the model's own size by default."""

    buckets: bool = False
    """Keep the shape of pictures: rectangles of about resolution x resolution pixels in place of squares."""

    crop: str = "centre"
    """Which part is shown of a picture that has not the shape wanted: centre, random (several parts), or subject (as
    the picture's mask says; without a mask the centre)."""

    crops: int = 8
    """Parts that are cut out of each picture where crop is random."""

    flip: bool = False
    """Mirror half of the draws; leave off for faces, letters and anything with a left and a right."""

    mask_background: float = 0.1
    """How much what a mask leaves out counts in the loss; 1 is as much as the subject."""

    latent_cache: str | None = None
    """Folder in which encoded pictures are kept, so that another run over them does not need the VAE."""

    skip_bad_images: bool = False
    """Go on without pictures that cannot be read, instead of refusing to start."""

    precision: str = "auto"
    """fp32, bf16, fp16, or auto: what accelerate was told, else bf16 on GPUs that have it, else fp32."""

    seed: int = 0
    """Every random draw is a function of the seed and of where it is used."""

    validate_every: int = 20
    """Steps between measurements of the fixed-noise loss, which chooses the best step; 0 keeps the last."""

    validation_samples: int = 32
    """Noisy pictures in that measurement: pictures times timesteps."""

    early_stop: int = 0
    """Stop after so many measurements in a row without a new best one; 0 goes on to the last step."""

    log_every: int | None = None
    """Steps between readings of the loss; by default 1, and 10 on GPUs, which would have to wait for each."""

    checkpoint_every: int = 20
    """Steps between checkpoints; they are a few kilobytes."""

    preview_every: int = 0
    """Steps between preview pictures; 0 draws none before the end."""

    plots: bool = True
    """Draw loss.png and before_after.png at the end."""

    preview_steps: int = 20
    """Denoising steps of preview pictures."""

    guidance: float = 5.0
    """Classifier-free guidance scale of preview pictures."""

    tensorboard: bool = False
    """Write TensorBoard logs into the run's folder."""

    resume: bool = False
    """Go on from the last checkpoint of the run's folder; of several concepts, do what is not done yet."""

    overwrite: bool = False
    """Delete the run's folder if it holds a run."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resume and self.overwrite:
            raise BadInput("--resume goes on with a run and --overwrite deletes it: choose one")
        if self.name is not None and not re.fullmatch(r"[\w-][\w.-]*", self.name):
            raise BadInput(f"--name is '{self.name}'; use letters, digits, '-', '_' and '.'")

    @property
    def run_name(self) -> str:
        return self.name or self.concept.stem


CONCEPT_RANGES: dict[str, tuple[float, float]] = {
    "keep_tags": (0, 1_000),
    "tag_dropout": (0, 1),
    "caption_dropout": (0, 1),
    "class_weight": (0, 1_000),
}

RANGES: dict[str, tuple[float, float]] = {
    "steps": (1, 10_000_000),
    "batch_size": (1, 100_000),
    "micro_batch_size": (1, 100_000),
    "lr": (0, 1_000),
    "warmup_steps": (0, 10_000_000),
    "weight_decay": (0, 1),
    "max_grad_norm": (0, 1e9),
    "gamma": (1e-3, 1e6),
    "resolution": (32, 4_096),
    "crops": (1, 1_000),
    "mask_background": (0, 1),
    "clip_skip": (0, 100),
    "validate_every": (0, 10_000_000),
    "validation_samples": (1, 100_000),
    "early_stop": (0, 10_000_000),
    "log_every": (1, 10_000_000),
    "checkpoint_every": (1, 10_000_000),
    "preview_every": (0, 10_000_000),
    "preview_steps": (1, 1_000),
    "guidance": (0, 100),
    "seed": (0, 2**63 - 1),
}


CHOICES: dict[str, tuple[str, ...]] = {
    "precision": ("auto", "fp32", "bf16", "fp16"),
    "prediction_type": ("epsilon", "v_prediction"),
    "long_captions": ("truncate", "chunk"),
}


def check_ranges(settings: object, ranges: Mapping[str, tuple[float, float]]) -> None:
    for name, (low, high) in ranges.items():
        value = getattr(settings, name, None)
        if value is not None and not low <= value <= high:
            raise BadInput(f"--{name} is {value}; choose a number from {low:g} to {high:g}")
