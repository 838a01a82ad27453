"""Every family offers all of the protocol, with the arguments that it names."""

from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from tests.families.inputs import load
from ti_trainer.families import Family

METHODS = [name for name, member in vars(Family).items() if inspect.isfunction(member) and not name.startswith("_")]
PROPERTIES = [name for name, member in vars(Family).items() if isinstance(member, property)]
ATTRIBUTES = list(Family.__annotations__)


def test_every_member_is_there(any_model: Path) -> None:
    family: Any = load(any_model)
    assert {"predict", "sampler", "to_latents"} <= set(METHODS)
    for name in METHODS:
        wanted, found = (list(inspect.signature(getattr(of, name)).parameters) for of in (Family, type(family)))
        assert found == wanted, name
    for name in (*ATTRIBUTES, *PROPERTIES):
        assert getattr(family, name) is not None, name


def test_the_spec_is_what_it_was_told(any_model: Path) -> None:
    """A row of data: nobody changes it, and data/ reads the same numbers."""
    family: Any = load(any_model)
    assert (family.pixels_per_latent, family.latent_channels) == (
        family.spec.pixels_per_latent,
        family.spec.latent_channels,
    )
    with pytest.raises(FrozenInstanceError):
        family.spec.resolution = 1
