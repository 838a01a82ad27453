"""What a run is asked to do: frozen dataclasses, checked once, when they are made."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ..errors import BadInput
from ..files.names import MAX_VECTORS, check_token
from ..files.wording import flag
from ..method.crops import CROPS
from ..method.lr_schedules import LR_SCHEDULES, check_lr_schedule
from ..method.optimizers import OPTIMIZERS, check_optimizer, check_weight_decay
from ..method.timesteps import TIMESTEPS, parse_timesteps
from ..method.weightings import GAMMA, WEIGHTINGS
from .bundled import MY_CAT, TINY_SD
from .fields import Settings, required, setting

FROM_PICTURES = "pictures"  # the value of `init` that training replaces by the words that it finds


@dataclass(frozen=True)
class Concept(Settings):
    """What is learned: a token, its pictures, its rows."""

    token: str = field(metadata=required(first=True, metavar='"<NAME>"', group="concept"))
    """The new word, for example "<my-cat>"; the file is named after it."""

    images: str = setting(MY_CAT, first=True, metavar="DIR")
    """Pictures: a folder (a text file beside a picture, cat.txt for cat.png, is its caption, and metadata.jsonl or
    metadata.csv may hold all; pictures in a subfolder called 10_NAME count 10 times), a .jsonl file with "file_name"
    and "text" in each line, a parquet or arrow file, a saved dataset, or the hub id of a dataset."""

    image_column: str | None = setting(None)
    """Column of the pictures in a .jsonl file, metadata file or dataset; found by its name or type by default."""

    caption_column: str | None = setting(None)
    """Column of the captions there; "text" or "caption" by default."""

    init: str = setting("auto", first=True, metavar="WORD")
    """Where the rows start: a word, a phrase (a row for each of its tokens), "random", "file:PATH", "auto" (the last
    word of the token that the model knows: "cat" for "<my-cat>"), or "pictures" (the phrase that `ti-trainer suggest`
    finds in them, as much of it as `num_vectors` has room for; that takes some thousand forward passes)."""

    num_vectors: int | None = setting(None, low=1, high=MAX_VECTORS, first=True)
    """Rows to learn, of which most concepts need 1 to 4; by default 4, or as many as the phrase or the file of `init`
    has."""

    tune: bool = setting(False)
    """The token is a word that the model knows: train its rows, and export them as "<WORD-tuned>"."""

    negative: bool = setting(False)
    """What is learned is unwanted: the file is marked as one for the negative prompt, and previews put it there."""

    captions: str = setting("auto", choices=("auto", "templates", "filename"), group="captions")
    """Where captions come from; auto takes the picture's own, else templates."""

    templates: str = setting("object", first=True)
    """Captions of pictures that have none: "object", "style", "person", or a text file in any language with {token} (or
    [name]) in each line; [filewords] there is the picture's own caption or, without one, the words of its file name."""

    add_token: bool = setting(False)
    """Put the token in front of captions that lack it: "TOKEN, caption"."""

    shuffle_tags: bool = setting(False)
    """Draw another order of a caption's comma-separated parts at each step."""

    keep_tags: int = setting(0, low=0, high=1_000)
    """That many first parts of a caption stay where they are, and are not dropped."""

    tag_dropout: float = setting(0.0, low=0, high=1)
    """Probability with which a part of a caption is left out at a step; the part with the token never is."""

    caption_dropout: float = setting(0.0, low=0, high=1)
    """Probability with which a caption is the bare token at a step; an empty one would train nothing."""

    masks: str = setting("auto", group="masks and pictures of the class")
    """Which part of a picture is the subject: "auto" (cat.mask.png beside cat.png, where there is one), "alpha" (the
    picture's alpha channel), "none", or a folder with pictures of the same names; white is the subject."""

    alpha_color: str = setting("white")
    """What shows through transparent parts of a picture: a colour's name or #rrggbb."""

    class_images: str | None = setting(None)
    """Pictures of the class, such as other dogs than yours, from the same kinds of sources as `images`: they keep the
    token close to its class. Their captions are the templates, because one without the token would train nothing."""

    class_weight: float = setting(0.1, low=0, high=1_000)
    """Weight of the loss of `class_images`, where the concept's own pictures have 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_token(self.token, known_word=self.tune)
        if self.tune and (self.num_vectors is not None or self.init != "auto"):
            raise BadInput(
                f"{flag('tune', True)} trains the rows that '{self.token}' has: leave out {flag('init')} and "
                f"{flag('num_vectors')}"
            )

    @property
    def stem(self) -> str:
        """The name without brackets, for files: "<my-cat>" -> "my-cat"."""
        return self.trigger.strip("<>")

    @property
    def trigger(self) -> str:
        """The word under which the rows are exported."""
        return f"<{self.token.strip('<>')}-tuned>" if self.tune else self.token


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Settings):
    """Which model, and how it is loaded."""

    model: str = setting(TINY_SD, shared=True, for_dataset=True, first=True, metavar="MODEL", group="model")
    """Diffusers folder, hub id, or checkpoint file (.safetensors) of a Stable Diffusion 1.x, 2.x or XL model; the
    bundled miniature by default."""

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

    allow_pickle: bool = setting(False, shared=True)
    """Read a .ckpt file, which is a pickle: only ones that you trust."""

    prediction_type: str | None = setting(None, choices=("epsilon", "v_prediction"), shared=True)
    """What the U-Net predicts, if the model's own scheduler config does not say it."""

    zero_terminal_snr: bool | None = setting(None, shared=True)
    """Whether the last timestep is pure noise (Lin et al. 2023), if the model's scheduler config does not say it."""

    clip_skip: int = setting(0, low=0, high=100, shared=True, exported=True)
    """Last layers of the text encoders to leave out; "clip skip 2" of a WebUI is 1 here."""

    long_captions: str = setting(
        "truncate", choices=("truncate", "chunk"), shared=True, exported=True, for_dataset=True
    )
    """What to do with captions beyond the window of 77 tokens: truncate them, as diffusers does, or chunk: read several
    windows, as WebUIs do."""

    gradient_checkpointing: bool | None = setting(None, shared=True, training_only=True)
    """Compute the U-Net's activations twice instead of keeping them: less memory, a third more time; by default where
    the memory is too small otherwise."""

    lean_unet: bool = setting(True, shared=True, training_only=True)
    """On CPUs: a U-Net that keeps nothing for gradients of its weights, which stay frozen, and little that is cheap to
    compute again; its convolutions are products of matrices where that is faster. The same numbers to rounding."""


def check_name(name: str) -> None:
    """Raises BadInput for a name that is hidden or leads out of its folder."""
    if not re.fullmatch(r"[\w-][\w.-]*", name):
        raise BadInput(f"{flag('name')} is '{name}'; use letters, digits, '-', '_' and '.'")


@dataclass(frozen=True)
class TrainConfig(ModelConfig):
    """One run: what is learned, and how."""

    concept: Concept
    """What is learned."""

    output: str = setting("runs", first=True, free_on_resume=True, metavar="DIR", group="folder of the run")
    """Folder in which the run gets its own folder: a local one, or where fsspec leads (s3://bucket/runs)."""

    name: str | None = setting(None, check=check_name, free_on_resume=True)
    """Name of the run's folder; by default the token without brackets."""

    steps: int = setting(300, low=1, high=10_000_000, first=True, free_on_resume=True, exported=True, group="learning")
    """Optimiser steps."""

    batch_size: int = setting(8, low=1, high=100_000, exported=True)
    """Examples of the concept in a step, over all processes together."""

    micro_batch_size: int | None = setting(None, low=1, high=100_000, shared=True, free_on_resume=True)
    """Examples that go through the U-Net at once, of all concepts that are trained together; by default as many as
    keep the device busy and fit its memory. The rows are the same to rounding."""

    lr: float = setting(1.5e-2, low=0, high=1_000, first=True, exported=True)
    """Learning rate of the rows, the same for every batch size."""

    lr_schedule: str = setting("constant", choices=LR_SCHEDULES, check=check_lr_schedule, exported=True)
    """How the learning rate goes on after the warm-up; piecewise:100=0.5,200=0.1 takes half of it from step 100 and a
    tenth from step 200."""

    warmup_steps: int = setting(10, low=0, high=10_000_000, exported=True)
    """Steps over which the learning rate rises from 0."""

    optimizer: str = setting("adamw", choices=OPTIMIZERS, check=check_optimizer, exported=True)
    """Update rule of the rows; settings of its own may follow: adamw:beta2=0.99,eps=1e-6. With sphere the rows keep the
    length they start with, or `length` times that, and the rate is an angle; `rho` pulls them to their start."""

    weight_decay: float = setting(0.0, low=0, high=1, exported=True)
    """Decoupled weight decay of the rows; 0 leaves their length to the loss."""

    max_grad_norm: float = setting(1.0, low=0, high=1e9, exported=True)
    """Gradients are clipped to this norm; 0 switches clipping off, and sphere does without."""

    weighting: str = setting("uniform", choices=WEIGHTINGS, exported=True)
    """How much a timestep counts in the loss, by its noise."""

    gamma: float = setting(GAMMA, low=1e-3, high=1e6, exported=True)
    """Signal-to-noise ratio above which min_snr lets timesteps count less."""

    timesteps: str = setting("uniform", choices=TIMESTEPS, check=parse_timesteps, exported=True)
    """Which timesteps are drawn; late draws noisier ones more often, and range:LOW-HIGH those between two fractions of
    the schedule (range:0.5-1 is its noisy half)."""

    resolution: int | None = setting(None, low=32, high=4_096, exported=True, for_dataset=True, group="pictures")
    """Pictures are scaled and cropped to squares of this many pixels; the model's own size by default."""

    buckets: bool = setting(False, exported=True, for_dataset=True)
    """Keep the shape of pictures: rectangles of about resolution x resolution pixels in place of squares."""

    crop: str = setting("centre", choices=CROPS, exported=True, for_dataset=True)
    """Which part is shown of a picture that has not the shape wanted; random shows several parts, and subject the part
    around what the picture's mask shows, or the centre where there is no mask."""

    crops: int = setting(8, low=1, high=1_000, exported=True, for_dataset=True)
    """Parts that are cut out of each picture where crop is random."""

    flip: bool = setting(False, exported=True)
    """Mirror half of the draws; leave off for faces, letters and anything with a left and a right."""

    mask_background: float = setting(0.1, low=0, high=1, exported=True, for_dataset=True)
    """How much what a mask leaves out counts in the loss; 1 is as much as the subject."""

    latent_cache: str | None = setting(None, free_on_resume=True, metavar="DIR")
    """Folder in which encoded pictures are kept, so that another run over them does not need the VAE."""

    skip_bad_images: bool = setting(False)
    """Go on without pictures that cannot be read, instead of refusing to start."""

    precision: str = setting("auto", choices=("auto", "fp32", "bf16", "fp16"), shared=True, group="numbers")
    """Number format of the frozen model; auto is what accelerate was told, else bf16 where a GPU has it, else fp32."""

    seed: int = setting(0, low=0, high=2**63 - 1, exported=True, for_dataset=True)
    """Every random draw is a function of the seed and of where it is used."""

    validate_every: int = setting(20, low=0, high=10_000_000, group="measuring and saving")
    """Steps between measurements of the fixed-noise loss, which chooses the best step; 0 keeps the last."""

    validation_samples: int = setting(32, low=1, high=100_000)
    """Noisy pictures in that measurement: pictures times timesteps."""

    early_stop: int = setting(0, low=0, high=10_000_000, free_on_resume=True)
    """Stop after so many measurements in a row without a new best one; 0 goes on to the last step."""

    log_every: int | None = setting(None, low=1, high=10_000_000, shared=True, free_on_resume=True)
    """Steps between readings of the loss; by default 1, and 10 on GPUs, which would have to wait for each."""

    checkpoint_every: int = setting(20, low=1, high=10_000_000, free_on_resume=True)
    """Steps between checkpoints; they are a few kilobytes."""

    preview_every: int = setting(0, low=0, high=10_000_000, free_on_resume=True, group="previews and plots")
    """Steps between preview pictures; 0 draws none before the end."""

    plots: bool = setting(True, free_on_resume=True)
    """Draw loss.png and before_after.png at the end."""

    preview_steps: int = setting(20, low=1, high=1_000, free_on_resume=True)
    """Denoising steps of preview pictures."""

    guidance: float = setting(5.0, low=0, high=100, free_on_resume=True)
    """Classifier-free guidance scale of preview pictures."""

    tensorboard: bool = setting(False, free_on_resume=True)
    """Write TensorBoard logs into the run's folder."""

    resume: bool = setting(False, start=True, first=True, group="a run that is there")
    """Go on from the last checkpoint of the run's folder; of several concepts, do what is not done yet."""

    overwrite: bool = setting(False, start=True)
    """Delete the run's folder if it holds a run."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.concept, Concept):
            raise BadInput(f"concept is {self.concept!r}; give a Concept")
        check_weight_decay(self.optimizer, self.weight_decay)
        if self.resume and self.overwrite:
            raise BadInput(
                f"{flag('resume', True)} goes on with a run and {flag('overwrite', True)} deletes it: choose one"
            )

    @property
    def run_name(self) -> str:
        return self.name or self.concept.stem
