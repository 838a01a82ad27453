"""An embedding: a token, its vectors, and the model families that it is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from ..errors import BadInput
from .metadata import NEGATIVE

# The text encoders for which embeddings have vectors -> the width of a vector in the published models.
WIDTHS = {
    "clip_l": 768,
    "clip_h": 1024,
    "clip_g": 1280,
    "t5xxl": 4096,
    "qwen3_06b": 1024,
    "qwen3_4b": 2560,
    "qwen3_8b": 4096,
}


@dataclass(frozen=True)
class ModelFamily:
    """The text encoders that the models of a family have."""

    name: str
    architecture: str  # how the names of the family in ModelSpec begin
    slots: frozenset[str]
    optional: frozenset[str] = frozenset()  # slots that an embedding may leave out
    terms: str = ""  # what the licence of its models says of what is made with them, where it is no open one


STABILITY = "Stability AI Community License"
FLUX_DEV = "FLUX Non-Commercial License: the model and its derivatives are not for commercial use, pictures may be"
ANIMA = "CircleStone Non-Commercial License: the model and its derivatives are not for commercial use, pictures may be"
MODEL_FAMILIES = (
    ModelFamily("SD 1.x", "stable-diffusion-v1", frozenset({"clip_l"})),
    ModelFamily("SD 2.x", "stable-diffusion-v2", frozenset({"clip_h"})),
    ModelFamily("SDXL", "stable-diffusion-xl", frozenset({"clip_l", "clip_g"})),
    ModelFamily("SD 3", "stable-diffusion-3", frozenset({"clip_l", "clip_g"}), frozenset({"t5xxl"}), STABILITY),
    ModelFamily("Flux", "flux-1", frozenset(), frozenset({"clip_l", "t5xxl"}), FLUX_DEV),
    ModelFamily("Chroma", "chroma", frozenset({"t5xxl"})),
    ModelFamily("Anima", "anima", frozenset({"qwen3_06b"}), terms=ANIMA),
    ModelFamily("Flux.2 Klein 4B", "flux-2-klein-4b", frozenset({"qwen3_4b"})),
    ModelFamily("Flux.2 Klein 9B", "flux-2-klein-9b", frozenset({"qwen3_8b"}), terms=FLUX_DEV),
)


def families_of(widths: Mapping[str, int], architecture: str = "") -> tuple[str, ...]:
    """The families whose text encoders have these widths, by slot; none for widths that no published model has.

    Several families may have the same encoders: a clip_l of 768 is of SD 1.x or Flux, and with a clip_g of 1280 of SDXL
    or SD 3. The architecture, a name of ModelSpec, tells them apart if it fits one of them.
    """
    if any(WIDTHS.get(slot) != width for slot, width in widths.items()):
        return ()
    fitting = [kind for kind in MODEL_FAMILIES if kind.slots <= set(widths) <= kind.slots | kind.optional]
    told = [kind for kind in fitting if architecture.startswith(kind.architecture)]
    return tuple(kind.name for kind in told or fitting)


def needed_slots(architecture: str) -> frozenset[str]:
    """The slots that every embedding of a family has vectors for, by the name in ModelSpec."""
    return next((kind.slots for kind in MODEL_FAMILIES if architecture.startswith(kind.architecture)), frozenset())


def terms_of(architecture: str) -> str:
    """What the licence of a family's models says, by the name in ModelSpec; "" where there is nothing to say."""
    return next((kind.terms for kind in MODEL_FAMILIES if architecture.startswith(kind.architecture)), "")


def in_order(vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same vectors in the order in which pipelines number their text encoders."""
    known = [slot for slot in WIDTHS if slot in vectors]
    return {slot: vectors[slot] for slot in [*known, *sorted(set(vectors) - set(known))]}


def describe(widths: Mapping[str, int], families: tuple[str, ...]) -> str:
    """Widths and families for a message: "clip_l 768 wide (SD 1.x or Flux)"."""
    slots = " + ".join(f"{slot} {width} wide" for slot, width in widths.items())
    return f"{slots} ({' or '.join(families)})" if families else slots


@dataclass(frozen=True)
class Embedding:
    """A token and its vectors."""

    token: str
    vectors: Mapping[str, Tensor]  # slot -> (n, d) float32
    metadata: Mapping[str, str] = field(default_factory=dict)
    source: str = ""  # the file that it was read from

    @property
    def num_vectors(self) -> int:
        return len(next(iter(self.vectors.values())))

    @property
    def stem(self) -> str:
        """The token without brackets, for names of files: "<my-cat>" -> "my-cat"."""
        return self.token.strip("<>")

    @property
    def is_negative(self) -> bool:
        """Whether it is for the negative prompt."""
        return self.metadata.get(NEGATIVE) == "true"

    @property
    def widths(self) -> dict[str, int]:
        return {slot: vectors.shape[1] for slot, vectors in self.vectors.items()}

    @property
    def families(self) -> tuple[str, ...]:
        """The model families that it is for, by its widths and by the architecture in its metadata."""
        return families_of(self.widths, self.architecture)

    @property
    def architecture(self) -> str:
        """ModelSpec's name of the model's, where the file has one."""
        return self.metadata.get("modelspec.architecture", "")

    @property
    def left_out(self) -> frozenset[str]:
        """Slots of its family, told by its metadata, that it has no vectors for and that need none."""
        told = (kind for kind in MODEL_FAMILIES if self.architecture.startswith(kind.architecture))
        kind = next(told, None) if self.architecture else None
        return kind.optional - set(self.vectors) if kind and kind.slots <= set(self.vectors) else frozenset()

    def fit(self, widths: Mapping[str, int]) -> dict[str, Tensor]:
        """The vectors for a model that has these slots, slot -> (n, d); widths: slot -> d.

        Between an embedding and a model that have one slot each, only the width is compared and not the slot's name,
        unless both are known to be as wide. Slots that the embedding leaves out, and its family may do without, are
        left out here. Raises BadInput when the embedding does not fit.
        """
        known = families_of(self.widths) and families_of(widths)
        same_names = len(self.vectors) != 1 or len(widths) != 1 or known
        widths = {slot: width for slot, width in widths.items() if slot in self.vectors or slot not in self.left_out}
        vectors = dict(self.vectors) if same_names else dict(zip(widths, self.vectors.values(), strict=True))
        if {slot: rows.shape[1] for slot, rows in vectors.items()} == dict(widths):
            return {slot: vectors[slot] for slot in widths}
        own = f"{self.token} in {self.source}" if self.source else self.token
        raise BadInput(
            f"{own} has vectors for {describe(self.widths, self.families)}, and this model has "
            f"{describe(widths, families_of(widths))}: take an embedding that was made for the model's family"
        )
