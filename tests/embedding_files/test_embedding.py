import pytest
import torch

from tests.published_widths import PUBLISHED
from ti_trainer.embedding_files import Embedding, families_of
from ti_trainer.errors import BadInput

# what each family's models have, and what files call it


def embedding(widths: dict[str, int], **metadata: str) -> Embedding:
    vectors = {slot: torch.full((2, width), float(width)) for slot, width in widths.items()}
    return Embedding("<cat>", vectors, {key.replace("_", "."): value for key, value in metadata.items()}, "cat.pt")


@pytest.mark.parametrize(
    ("widths", "families"),
    [
        ({"clip_l": 768}, ("SD 1.x", "Flux")),
        ({"clip_h": 1024}, ("SD 2.x",)),
        ({"clip_g": 1280, "clip_l": 768}, ("SDXL", "SD 3")),
        (PUBLISHED["SD 3"], ("SD 3",)),
        (PUBLISHED["Flux"], ("Flux",)),
        ({"clip_g": 1280}, ()),
        ({"clip_l": 96}, ()),
        ({"clip_l": 1280, "clip_g": 768}, ()),
    ],
)
def test_family_by_slots_and_widths(widths: dict[str, int], families: tuple[str, ...]) -> None:
    assert families_of(widths) == embedding(widths).families == families


@pytest.mark.parametrize(
    ("widths", "architecture", "families"),
    [
        ({"clip_l": 768}, "flux-1-dev/textual-inversion", ("Flux",)),
        ({"clip_l": 768}, "stable-diffusion-v1/textual-inversion", ("SD 1.x",)),
        (PUBLISHED["SDXL"], "stable-diffusion-3-medium/textual-inversion", ("SD 3",)),
        (PUBLISHED["SDXL"], "stable-diffusion-xl-v1-base/textual-inversion", ("SDXL",)),
        # metadata cannot make of it what it is not
        ({"clip_l": 768}, "stable-diffusion-xl-v1-base/textual-inversion", ("SD 1.x", "Flux")),
        ({"clip_l": 96}, "stable-diffusion-v1/textual-inversion", ()),
        ({"clip_h": 1024}, "", ("SD 2.x",)),
    ],
)
def test_family_by_metadata(widths: dict[str, int], architecture: str, families: tuple[str, ...]) -> None:
    assert embedding(widths, modelspec_architecture=architecture).families == families


@pytest.mark.parametrize("family", PUBLISHED)
def test_fits_its_own_family_and_no_other(family: str) -> None:
    made = embedding(PUBLISHED[family])
    for other, widths in PUBLISHED.items():
        if other == family:
            fitted = made.fit(dict(reversed(widths.items())))
            assert list(fitted) == list(reversed(widths))
            assert all(fitted[slot] is made.vectors[slot] for slot in widths)
        else:
            with pytest.raises(BadInput) as refusal:
                made.fit(widths)
            # token, file, what it is for and what the model wants
            for text in ("<cat> in cat.pt", family, other, *(f"{k} {v} wide" for k, v in PUBLISHED[family].items())):
                assert text in str(refusal.value)


def test_one_set_fits_one_slot_by_its_width() -> None:
    made = embedding({"clip_l": 96})
    assert made.fit({"text": 96}) == {"text": made.vectors["clip_l"]}
    with pytest.raises(BadInput, match=r"clip_l 96 wide, and this model has text 32 wide"):
        made.fit({"text": 32})


def test_one_set_of_two_does_not_fit_one_slot() -> None:
    """An SDXL file's clip_l has the width of SD 1.x, and was trained for another U-Net."""
    with pytest.raises(BadInput, match=r"SDXL or SD 3\), and this model has clip_l 768 wide \(SD 1.x or Flux\)"):
        embedding(PUBLISHED["SDXL"]).fit({"clip_l": 768})
