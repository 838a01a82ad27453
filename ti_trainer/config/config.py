"""What a run is asked to do: frozen dataclasses, checked once, when they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import BadInput
from ..files.folder_names import name_problem
from ..files.model_places import models_on_this_machine
from ..files.remote import is_remote
from ..files.wording import flag, printable
from ..method.crops import CROPS
from ..method.lr_schedules import LR_SCHEDULES, check_lr_schedule, from_steps
from ..method.optimizers import OPTIMIZERS, check_optimizer, check_weight_decay
from ..method.timesteps import TIMESTEPS, parse_timesteps
from ..method.weightings import GAMMA, WEIGHTINGS
from .bundled import TINY_SD, is_bundled
from .concept import Concept
from .fields import setting
from .model import ModelConfig
from .sharing import SharingConfig

FOR_EXAMPLE = "stable-diffusion-v1-5/stable-diffusion-v1-5"
MOST_MODELS = 8  # that a message lists
TRACKERS = ("tensorboard", "wandb", "trackio")
PROGRESS = ("auto", "bar", "lines", "json", "none")  # how it is told what goes on
ALONE = ("trackio",)  # trackers that follow one run of a process at a time


def check_name(name: str) -> None:
    """Raises BadInput for a name that is hidden, leads out of its folder, or is another one's on some system."""
    problem = name_problem(name)
    if problem:
        raise BadInput(f"{flag('name')} is '{printable(name)}', which {problem}")


def asking_for_a_model(images: Sequence[str], models_dir: str | None, cache_dir: str | None) -> str:
    """A message with the models of this machine, where nobody says which one is to learn from pictures."""
    found = models_on_this_machine(models_dir, cache_dir)
    lines = [f"  {flag('model', each)}" for each in found[:MOST_MODELS]]
    lines += [f"  and {len(found) - MOST_MODELS} more"] if len(found) > MOST_MODELS else []
    own = next(each for each in images if not is_bundled(each))
    asks = f"{flag('images', own)} needs {flag('model')}, the Stable Diffusion model that is to learn from them"
    here = "on this machine are:" if lines else f"for example {flag('model', FOR_EXAMPLE)}, which is then downloaded"
    return "\n".join([asks, here, *lines, f"{flag('model', TINY_SD)} is a miniature, for trying things"])


def check_local(folder: str) -> None:
    """Raises BadInput for a URL where only a folder of this machine will do."""
    if is_remote(folder):
        raise BadInput(f"{flag('latent_cache', folder)} is a URL; give a folder of this machine")


@dataclass(frozen=True)
class Origin:
    """The row of a list from which a config was made."""

    record: str | None = None  # under which the manifest may say that the row, as it was before, cannot be tried
    columns: Mapping[str, Any] = field(default_factory=dict)  # beside settings; they come back in the manifest


NOWHERE = Origin()


@dataclass(frozen=True)
class TrainConfig(SharingConfig, ModelConfig):
    """One run: what is learned, and how."""

    concept: Concept
    """What is learned."""

    output: str = setting("runs", first=True, free_on_resume=True, metavar="DIR", group="folder of the run")
    """Folder in which the run gets its own folder: a local one, or a URL of a bucket (s3://bucket/runs)."""

    name: str | None = setting(None, check=check_name, free_on_resume=True, row=True)
    """Name of the run's folder; by default the token without brackets."""

    clip: str | None = setting(None, metavar="MODEL", group="learning")
    """A CLIP with an image tower, a folder or hub id: it makes a short list of the words that `init` auto tries."""

    steps: int = setting(
        100, low=1, high=10_000_000, first=True, free_on_resume=True, exported=True, group="learning", row=True
    )
    """Optimiser steps."""

    batch_size: int = setting(8, low=1, high=100_000, exported=True, row=True)
    """Examples of the concept in a step, over all processes together."""

    micro_batch_size: int | None = setting(None, low=1, high=100_000, shared=True, free_on_resume=True)
    """Examples that go through the U-Net at once, of all concepts that are trained together; by default as many as
    keep the device busy and fit its memory. The rows are the same to rounding."""

    lr: float = setting(0.1, low=0, high=1_000, first=True, exported=True, row=True)
    """Learning rate of the rows, the same for every batch size; with sphere an angle in radians."""

    lr_schedule: str = setting("cosine", choices=LR_SCHEDULES, check=check_lr_schedule, exported=True, row=True)
    """How the learning rate goes on after the warm-up; piecewise:100=0.5,200=0.1 takes half of it from step 100 and a
    tenth from step 200. A1111's "0.05:200, 0.02:400, 0.005" takes these rates until these steps, in place of `lr`."""

    warmup_steps: int = setting(0, low=0, high=10_000_000, exported=True, row=True)
    """Steps over which the learning rate rises from 0."""

    optimizer: str = setting("sphere", choices=OPTIMIZERS, check=check_optimizer, exported=True, row=True)
    """Update rule of the rows; settings of its own may follow: adamw:beta2=0.99,eps=1e-6. With sphere the rows keep the
    length they start with, or `length` times that, and the rate is an angle; `rho` pulls them to their start."""

    weight_decay: float = setting(0.0, low=0, high=1, exported=True, row=True)
    """Decoupled weight decay of the rows; 0 leaves their length to the loss."""

    max_grad_norm: float = setting(1.0, low=0, high=1e9, exported=True, row=True)
    """Gradients are clipped to this norm; 0 switches clipping off, and sphere does without."""

    weighting: str = setting("uniform", choices=WEIGHTINGS, exported=True, row=True)
    """How much a timestep counts in the loss, by its noise."""

    gamma: float = setting(GAMMA, low=1e-3, high=1e6, exported=True, row=True)
    """Signal-to-noise ratio above which min_snr lets timesteps count less."""

    timesteps: str = setting("uniform", choices=TIMESTEPS, check=parse_timesteps, exported=True, row=True)
    """Which timesteps are drawn; late draws noisier ones more often, logit_normal and mode those in the middle, and
    range:LOW-HIGH those between two fractions of the schedule (range:0.5-1 is its noisy half)."""

    resolution: int | None = setting(
        None, low=32, high=4_096, exported=True, for_dataset=True, group="pictures", row=True
    )
    """Pictures are scaled and cropped to squares of this many pixels; the model's own size by default."""

    buckets: bool = setting(False, exported=True, for_dataset=True, row=True)
    """Keep the shape of pictures: rectangles of about resolution x resolution pixels in place of squares."""

    crop: str = setting("centre", choices=CROPS, exported=True, for_dataset=True, row=True)
    """Which part is shown of a picture that has not the shape wanted; random shows several parts, and subject the part
    around what the picture's mask shows, or the centre where there is no mask."""

    crops: int = setting(8, low=1, high=1_000, exported=True, for_dataset=True, row=True)
    """Parts that are cut out of each picture where crop is random."""

    flip: bool = setting(False, exported=True, row=True)
    """Mirror half of the draws; leave off for faces, letters and anything with a left and a right."""

    mask_background: float = setting(0.1, low=0, high=1, exported=True, for_dataset=True, row=True)
    """How much what a mask leaves out counts in the loss; 1 is as much as the subject."""

    latent_cache: str | None = setting(None, check=check_local, free_on_resume=True, metavar="DIR")
    """Folder in which encoded pictures are kept, so that another run over them does not need the VAE."""

    skip_bad_images: bool = setting(False, row=True)
    """Go on without pictures that cannot be read, instead of refusing to start."""

    precision: str = setting("auto", choices=("auto", "fp32", "bf16", "fp16"), shared=True, group="numbers")
    """Number format of the frozen model; auto is what accelerate was told, else bf16 where a GPU has it, else fp32."""

    seed: int = setting(0, low=0, high=2**63 - 1, exported=True, for_dataset=True, row=True)
    """Every random draw is a function of the seed and of where it is used."""

    validate_every: int = setting(10, low=0, high=10_000_000, group="measuring and saving", row=True)
    """Steps between measurements of the fixed-noise loss, which chooses the best step; 0 keeps the last."""

    validation_samples: int = setting(32, low=1, high=100_000, row=True)
    """Noisy pictures in that measurement: pictures times timesteps."""

    early_stop: int = setting(2, low=0, high=10_000_000, free_on_resume=True, row=True)
    """Stop after so many measurements in a row that bring little, less than a tenth of the whole fall of the loss; 0
    goes on to the last step."""

    log_every: int | None = setting(None, low=1, high=10_000_000, shared=True, free_on_resume=True)
    """Steps between readings of the loss; by default 1, and 10 on GPUs, which would have to wait for each."""

    checkpoint_every: int = setting(20, low=1, high=10_000_000, free_on_resume=True)
    """Steps between checkpoints; they are a few kilobytes."""

    save_every: int = setting(0, low=0, high=10_000_000, free_on_resume=True)
    """Steps between embedding files of the rows on their way, embeddings/NAME-000100.safetensors; 0 writes none but the
    last."""

    plots: bool = setting(True, free_on_resume=True, group="previews and plots")
    """Draw before_after.png, loss.png and report.html, and previews where `preview_every` does not say when."""

    prompts: tuple[str, ...] = setting((), free_on_resume=True)
    """What pictures are drawn of: prompts with {token} where the token goes, a text file with one in each line, or
    "object" or "style" for some of ours; by default those that go with the templates."""

    negative_prompt: str = setting("", free_on_resume=True)
    """What pictures are to keep out; the token of what is learned for the negative prompt comes there by itself."""

    preview_every: int | None = setting(None, low=0, high=10_000_000, free_on_resume=True)
    """Steps between preview pictures; 0 draws none before the end. By default there are up to ten, as many as take less
    than a tenth of the run's time."""

    preview_seeds: int = setting(1, low=1, high=100, free_on_resume=True)
    """Pictures of each prompt, each from noise of its own."""

    preview_width: int | None = setting(None, low=32, high=4_096, free_on_resume=True)
    """Width of preview pictures in pixels; by default that of the training pictures."""

    preview_height: int | None = setting(None, low=32, high=4_096, free_on_resume=True)
    """Height of preview pictures in pixels; by default that of the training pictures."""

    preview_steps: int = setting(20, low=1, high=1_000, free_on_resume=True)
    """Denoising steps of preview pictures."""

    guidance: float = setting(5.0, low=0, high=100, free_on_resume=True)
    """Classifier-free guidance scale of preview pictures."""

    report_to: tuple[str, ...] = setting((), choices=TRACKERS, free_on_resume=True)
    """Programs that show runs beside each other: each gets the losses, the rows' length and angle, and the previews.
    tensorboard and wandb keep their files in the run's folder; wandb sends them where it is logged in."""

    resume: bool = setting(False, start=True, first=True, group="a run that is there")
    """Go on from the last checkpoint of the run's folder; of several concepts, do what is not done yet."""

    retry_failed: bool = setting(False, start=True)
    """Of several concepts that are resumed, also try those again that failed, though nothing is asked of them anew."""

    overwrite: bool = setting(False, start=True)
    """Delete the run's folder if it holds a run."""

    origin: Origin = field(default=NOWHERE, repr=False, compare=False)
    """The row of a list from which it was made."""

    def __post_init__(self) -> None:
        if not isinstance(self.concept, Concept):
            raise BadInput(f"concept is {self.concept!r}; give a Concept")
        super().__post_init__()
        check_weight_decay(self.optimizer, self.weight_decay)
        steps = from_steps(self.lr_schedule)
        for name, value in zip(("lr", "lr_schedule"), steps or (), strict=False):
            object.__setattr__(self, name, value)
        if self.resume and self.overwrite:
            raise BadInput(
                f"{flag('resume', True)} goes on with a run and {flag('overwrite', True)} deletes it: choose one"
            )

    def default_model(self) -> str:
        if not all(map(is_bundled, self.concept.images)):
            raise BadInput(asking_for_a_model(self.concept.images, self.models_dir, self.cache_dir))
        return TINY_SD

    @property
    def run_name(self) -> str:
        return self.name or self.concept.stem
