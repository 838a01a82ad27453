"""What most tests need: a tiny random Stable Diffusion folder, pictures, and settings for a run of a second.

Nothing here is trained and nothing is downloaded; all of it is made from seeds when the first test asks for it.
"""

from __future__ import annotations

import os
import signal

# Before torch is imported, and for the processes that tests start: numbers are compared on the CPU, in float32, and
# on one thread, so that they are the same on every machine and in every process.
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["ACCELERATE_USE_CPU"] = "true"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ti_trainer.training.admission
from tests.pipeline_copies import reading_once
from tests.tiny_models import TINY_MODELS, build_folder, load_plain
from tests.tiny_parts import build_tokenizer
from ti_trainer import Concept, ModelConfig, Run, TrainConfig, train
from ti_trainer.config.settings import config_from_mapping
from ti_trainer.families import Family, load_family
from ti_trainer.files.remote import SCHEMES, Scheme
from ti_trainer.training.memory import plan
from ti_trainer.training.prepare import Session

# A shell starts what runs in its background with Ctrl-C ignored, and the processes that tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
SCHEMES["memory"] = Scheme()  # buckets of the tests
CPU = torch.device("cpu")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _folders_are_read_once() -> Iterator[None]:
    """Reading a pipeline's folder again gives a copy of the pipeline: a third of the tests' time went into that."""
    from diffusers import DiffusionPipeline

    once = reading_once(DiffusionPipeline.from_pretrained.__func__)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DiffusionPipeline, "from_pretrained", classmethod(once))
        yield


@pytest.fixture(autouse=True)
def _plenty_of_memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only tests marked `memory` predict what a step takes: tiny models always fit, and it is a third of their runs."""
    if not request.node.get_closest_marker("memory"):
        monkeypatch.setattr(plan, "predict_needs", lambda *_, **__: plan.Needs(0, 0, 1))


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """For each kind of model the folder of a tiny random one."""
    return {kind: build_folder(kind, tmp_path_factory.mktemp("models") / kind) for kind in TINY_MODELS}


@pytest.fixture(scope="session", params=sorted(TINY_MODELS))
def any_model(request: pytest.FixtureRequest, tiny_models: dict[str, Path]) -> Path:
    """The tiny model of each kind in turn."""
    return tiny_models[request.param]


@pytest.fixture(scope="session")
def model(tiny_models: dict[str, Path]) -> Path:
    """A tiny random Stable Diffusion folder."""
    return tiny_models["sd1"]


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """The tokenizer of the tiny models."""
    return build_tokenizer()


@pytest.fixture
def family(model: Path) -> Family:
    """The tiny model, loaded as the trainer loads it."""
    return load_family(ModelConfig(model=str(model)), CPU, torch.float32)


@pytest.fixture(scope="session")
def reference_pipeline() -> Callable[[Path], Any]:
    """Model folder -> a freshly loaded diffusers pipeline that has never met the trainer."""

    def fresh(model: Path) -> Any:
        pipeline = load_plain(model)
        pipeline.set_progress_bar_config(disable=True)
        # diffusers 0.42 looks for text_model.final_layer_norm, which transformers 5 has moved up by one
        if not hasattr(pipeline.text_encoder, "text_model"):
            object.__setattr__(pipeline.text_encoder, "text_model", pipeline.text_encoder)
        return pipeline

    return fresh


def draw_pictures(folder: Path, seed: int, count: int) -> Path:
    """Coloured blobs on coloured ground, wider than high."""
    folder.mkdir(parents=True)
    draws = np.random.default_rng(seed)
    rows, columns = np.mgrid[:40, :48]
    for number in range(count):
        ground, blob = draws.integers((0, 150), (100, 256), (3, 2)).T
        inside = (rows - draws.integers(12, 28)) ** 2 + (columns - draws.integers(12, 36)) ** 2 < 100
        Image.fromarray(np.where(inside[..., None], blob, ground).astype(np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four pictures."""
    return draw_pictures(tmp_path_factory.mktemp("pictures") / "cat", seed=1, count=4)


@pytest.fixture(scope="session")
def other_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three other pictures."""
    return draw_pictures(tmp_path_factory.mktemp("pictures") / "dog", seed=2, count=3)


@pytest.fixture(scope="session")
def base_settings(model: Path, pictures: Path) -> dict[str, Any]:
    """Settings of TrainConfig and Concept for a run of about a second; the output folder is missing."""
    return {
        "token": "<my-cat>",
        "images": str(pictures),
        "init": "cat",
        "model": str(model),
        "steps": 8,
        "batch_size": 3,
        "optimizer": "adamw",
        "lr": 1.5e-2,
        "lr_schedule": "constant",
        "warmup_steps": 0,
        "validate_every": 4,
        "validation_samples": 4,
        "early_stop": 0,
        "checkpoint_every": 2,
        "preview_every": 0,
        "preview_steps": 1,
        "plots": False,
        "precision": "fp32",
    }


@pytest.fixture
def make_config(base_settings: dict[str, Any], tmp_path: Path) -> Callable[..., TrainConfig]:
    """Changes of the base settings -> a config whose runs lie in the test's own folder."""

    def make(**changes: Any) -> TrainConfig:
        model = TINY_MODELS.get(Path(changes.get("model", "")).name)
        small = {"resolution": 32} if model and model.resolution > 32 else {}
        return config_from_mapping({"output": str(tmp_path / "runs"), **base_settings, **small, **changes})

    return make


@pytest.fixture
def two_concepts(pictures: Path, other_pictures: Path) -> tuple[Concept, Concept]:
    return (
        Concept("<my-cat>", str(pictures), init="cat", num_vectors=2),
        Concept("<my-dog>", str(other_pictures), init="dog", num_vectors=1),
    )


@pytest.fixture
def make_two(
    make_config: Callable[..., TrainConfig], two_concepts: tuple[Concept, Concept]
) -> Callable[..., list[TrainConfig]]:
    """Changes of the base settings -> configs of two concepts that are trained together."""

    def make(**changes: Any) -> list[TrainConfig]:
        return [replace(make_config(**changes), concept=concept) for concept in two_concepts]

    return make


@pytest.fixture(scope="session")
def finished_run(base_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of the base settings, shared: look, do not touch."""
    return train(
        config_from_mapping({"output": str(tmp_path_factory.mktemp("finished")), **base_settings, "plots": True})
    )


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Session]]:
    """The sessions that `train` prepares in this test, so that a test can look at the weights it trained with."""
    seen: list[Session] = []

    def prepare(*arguments: Any) -> Session:
        seen.append(original(*arguments))
        return seen[-1]

    original = ti_trainer.training.admission.prepare
    monkeypatch.setattr(ti_trainer.training.admission, "prepare", prepare)
    yield seen
    seen.clear()
