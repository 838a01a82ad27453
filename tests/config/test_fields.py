"""What a setting takes, as which type, and what it says of the rest."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ti_trainer.config.concept import Concept
from ti_trainer.config.config import TrainConfig
from ti_trainer.config.fields import About, Settings, setting, settings_of
from ti_trainer.config.model import ModelConfig
from ti_trainer.errors import BadInput
from ti_trainer.files.wording import command_line
from ti_trainer.method.crops import CROPS

REPOSITORY = Path(__file__).resolve().parents[2]


def config(**settings: Any) -> TrainConfig:
    return TrainConfig(concept=Concept("<a>"), **settings)


def test_a_setting_has_all_that_its_field_says() -> None:
    found = settings_of(TrainConfig)["steps"]
    assert (found.name, found.type, found.optional, found.default) == ("steps", int, False, 100)
    assert (found.about.low, found.about.high, found.group) == (1, 10_000_000, "learning")
    assert settings_of(TrainConfig)["resolution"].optional
    assert settings_of(Concept)["token"].default is dataclasses.MISSING
    assert settings_of(TrainConfig)["lr"].group == "learning"  # the title stands on the first of them
    names = [field.name for field in dataclasses.fields(TrainConfig) if field.name not in ("concept", "origin")]
    assert list(settings_of(TrainConfig)) == names
    assert set(settings_of(ModelConfig)) < set(settings_of(TrainConfig))


def test_an_unknown_mark_is_a_mistake_in_the_program() -> None:
    with pytest.raises(TypeError, match="frist"):
        setting(1, frist=True)
    assert About() == About(choices=())


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [
        ("lr", "0.01", 0.01),
        ("lr", "5e-3", 0.005),
        ("lr", 1, 1.0),
        ("lr", np.float32(0.5), 0.5),
        ("steps", np.int64(7), 7),
        ("output", Path("a") / "b", str(Path("a") / "b")),
        ("latent_cache", Path("cache"), "cache"),
        ("latent_cache", None, None),
        ("model", np.str_("owner/name"), "owner/name"),
        ("flip", True, True),
        ("zero_terminal_snr", None, None),
        ("zero_terminal_snr", False, False),
        ("crop", "subject", "subject"),
        ("prediction_type", None, None),
        ("optimizer", "adamw", "adamw"),
        ("timesteps", "range:0.25-1", "range:0.25-1"),
        ("lr_schedule", "piecewise:100=0.5", "piecewise:100=0.5"),
    ],
)
def test_what_python_may_give(name: str, value: object, taken: object) -> None:
    found = getattr(config(**{name: value}), name)
    assert found == taken
    assert type(found) is type(taken)


def test_paths_of_a_concept() -> None:
    assert Concept("<a>", images=Path("photos"), masks=Path("masks")) == Concept("<a>", images="photos", masks="masks")
    assert hash(config(output=Path("x"))) == hash(config(output="x"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("lr", "fast", "lr is 'fast'; give a number"),
        ("lr", None, "lr is None; give a number"),
        ("lr", True, "lr is True; give a number"),
        ("lr", float("nan"), "lr is nan; choose a number from 0 to 1000"),
        ("lr", "nan", "lr is nan; choose a number from 0 to 1000"),
        ("steps", "300", "steps is '300'; give a whole number"),
        ("steps", 2.0, "steps is 2.0; give a whole number"),
        ("steps", False, "steps is False; give a whole number"),
        ("steps", 0, "steps is 0; choose a number from 1 to 10000000"),
        ("gamma", 1e7, "gamma is 10000000.0; choose a number from 0.001 to 1e+06"),
        ("flip", 1, "flip is 1; give true or false"),
        ("flip", "yes", "flip is 'yes'; give true or false"),
        ("output", 7, "output is 7; give text"),
        ("output", b"runs", "output is b'runs'; give text"),
        ("output", None, "output is None; give text"),
        ("model", ["a"], "model is ['a']; give text"),
        ("crop", "middle", "crop is 'middle'; choose one of centre, random, subject"),
        ("weighting", "none", "weighting is 'none'; choose one of uniform, min_snr, debiased"),
        ("optimizer", "sgdm", "optimizer is 'sgdm'; choose "),
        (
            "timesteps",
            "range:1-0",
            "timesteps is 'range:1-0'; choose uniform, late, logit_normal, mode, or range:LOW-HIGH",
        ),
        ("lr_schedule", "zigzag", "lr_schedule is 'zigzag'; choose constant, linear, cosine, or piecewise:100=0.5"),
        ("lr_schedule", "cosine:3", "lr_schedule is 'cosine:3'; choose constant"),
        ("prediction_type", "sample", "prediction_type is 'sample'; choose one of epsilon, v_prediction"),
        ("name", "a/b", "name is 'a/b', which cannot be the name of a folder; use letters"),
    ],
)
def test_refusals_in_the_words_of_python_and_of_the_command_line(name: str, value: object, message: str) -> None:
    with pytest.raises(BadInput, match=r"^[^\n]*$") as refusal:
        config(**{name: value})
    assert str(refusal.value).startswith(message)
    with command_line(), pytest.raises(BadInput) as refusal:
        config(**{name: value})
    assert str(refusal.value).startswith(f"--{message}")


def test_long_values_are_cut_in_messages() -> None:
    with pytest.raises(BadInput) as refusal:
        config(steps="9" * 10_000)
    assert len(str(refusal.value)) < 100


def test_a_concept_that_is_none() -> None:
    with pytest.raises(BadInput, match=r"^concept is '<a>'; give a Concept$"):
        TrainConfig(concept="<a>")  # type: ignore[arg-type]


def test_choices_are_those_of_the_table_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crop is a row of CROPS and nothing else."""
    monkeypatch.setitem(CROPS, "corner", CROPS["centre"])
    assert config(crop="corner").crop == "corner"


def test_fields_without_a_word_about_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain default is a setting too, and a field that is no text, number, bool or tuple of these is none."""

    @dataclasses.dataclass(frozen=True)
    class Plain(Settings):
        size: int = 3
        places: dict[str, str] | None = None
        sizes: tuple[int, ...] = (1,)
        ratio: float | None = None

    assert list(settings_of(Plain)) == ["size", "sizes", "ratio"]
    assert Plain(ratio="1.5").ratio == 1.5  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="size is 'x'; give a whole number"):
        Plain(size="x")  # type: ignore[arg-type]
    assert Plain(sizes=[2, 3]).sizes == (2, 3)  # type: ignore[arg-type]
    assert Plain(sizes=5).sizes == (5,)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="sizes is 'x'; give a whole number"):
        Plain(sizes=(2, "x"))  # type: ignore[arg-type]


def test_settings_load_nothing_heavy() -> None:
    """Checks included, those of optimisers, schedules and tables too."""
    code = (
        "import sys; from ti_trainer import Concept, TrainConfig\n"
        "TrainConfig(concept=Concept('<a>'), timesteps='range:0-0.5', lr_schedule='piecewise:3=0.5', crop='random')\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not {"torch", "diffusers", "transformers", "accelerate", "numpy", "PIL"} & set(done.stdout.split())


def test_texts_are_bounded() -> None:
    """By the length of a path: a megabyte would be shown in messages and kept in files."""
    assert Concept("<a>", images="x" * 4_096).images == ("x" * 4_096,)
    with pytest.raises(BadInput, match=r"^images has 4,097 letters, and at most 4,096; shorten it$"):
        Concept("<a>", images="x" * 4_097)
