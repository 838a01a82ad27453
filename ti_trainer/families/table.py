"""The table of families: a new one is a file beside this one and a row."""

from __future__ import annotations

from ..config.model import ModelConfig
from ..errors import BadInput
from ..files.wording import flag
from .anima import Anima
from .flux import Chroma, Flux
from .flux2 import Flux2Klein
from .frozen_pipeline import FrozenPipeline
from .sd import StableDiffusion
from .sd3 import StableDiffusion3
from .sdxl import StableDiffusionXL
from .slots import SlotKind

# pipeline class in model_index.json -> family
FAMILIES: dict[str, type[FrozenPipeline]] = {
    "StableDiffusionPipeline": StableDiffusion,
    "StableDiffusionXLPipeline": StableDiffusionXL,
    "StableDiffusion3Pipeline": StableDiffusion3,
    "FluxPipeline": Flux,
    "ChromaPipeline": Chroma,
    "Flux2KleinPipeline": Flux2Klein,
    "AnimaModularPipeline": Anima,
}

INPAINTING = "made for inpainting; train on the model that it was made from, the embedding works in both"
# pipeline classes that people try, and why they are no family
REFUSED = {
    "StableDiffusionXLImg2ImgPipeline": "the SDXL refiner: it has only one of SDXL's text encoders and draws over "
    "finished pictures; train on the base model, its file works in pipelines with a refiner",
    "StableDiffusionInpaintPipeline": INPAINTING,
    "StableDiffusionXLInpaintPipeline": INPAINTING,
}
# how names in single files of these start
REFUSED_LAYOUTS = {"conditioner.embedders.0.model.": "StableDiffusionXLImg2ImgPipeline"}


def family_of(name: str, config: ModelConfig) -> type[FrozenPipeline]:
    """The family of a pipeline class; raises BadInput where there is none."""
    if name not in FAMILIES:
        known = f"a {name}, for which there is no family; known are {', '.join(FAMILIES)}"
        raise BadInput(f"{flag('model', config.model)} is {REFUSED.get(name, known)}")
    return FAMILIES[name]


def checkpoint_layouts() -> dict[str, str]:
    """How names of tensors start in single files -> the pipeline class of such files."""
    rows = {family.checkpoint_prefix: name for name, family in FAMILIES.items()}
    return {start: name for start, name in rows.items() if start is not None} | REFUSED_LAYOUTS


def known_kinds() -> list[SlotKind]:
    """The kinds of text encoders of all families, each once."""
    return list({kind.name: kind for family in FAMILIES.values() for kind in family.kinds}.values())
