"""A kill or a fault at every operation of what a run does with files.

After a kill no file is half, and the same command typed again gives the same bytes and leaves nothing else. A fault is
told in a sentence, and after it too the same command gives the same bytes. Here a part of the operations is tried,
spread over all; `make soak`, or TI_TRAINER_FAULTS=all, kills at each, and tries three times as many faults.
"""

from __future__ import annotations

import errno
import os
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import ti_trainer.training.shared_model
from tests.faults.disk import Killed
from tests.faults.walks import WALKS, Place, run_quietly
from tests.tiny_models import build_pipeline
from ti_trainer import BadInput
from ti_trainer.config.settings import config_from_mapping
from ti_trainer.families import borrow_family
from ti_trainer.training.memory.plan import MemoryPlan

if not os.path.exists("/proc/self/fd"):
    pytest.skip("open files are read from /proc", allow_module_level=True)

ALL = os.environ.get("TI_TRAINER_FAULTS") == "all"
KILLS = None if ALL else 2  # of each kind and walk; None: at every operation
FAULTS = 3 if ALL else 1  # of each kind and walk
PROBLEMS = [errno.ENOSPC, errno.EIO, errno.EACCES]


@pytest.fixture(scope="module")
def model_in_memory() -> Any:
    return build_pipeline("sd1")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def seen() -> dict[Path, Any]:
    """What `undisturbed` has found, by the folder in which the state before is kept."""
    return {}


@pytest.fixture
def place(
    request: pytest.FixtureRequest,
    model_in_memory: Any,
    base_settings: dict[str, Any],
    scratch: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Place:
    """A walk on a disk of its own, and a trainer that neither loads nor measures the model again each time."""
    root = scratch / "disk"
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "cache"))
    quick = {"steps": 2, "batch_size": 1, "num_vectors": 1, "validate_every": 0}
    quick |= {"checkpoint_every": 1, "save_every": 1, "preview_every": 1, "prompts": ["a {token}"]}
    config = config_from_mapping({**base_settings, **quick})
    family = borrow_family(model_in_memory, config, torch.device("cpu"))
    monkeypatch.setattr(ti_trainer.training.shared_model, "take_model", lambda *_: family)
    plan = MemoryPlan(1, False, 0, 0)
    monkeypatch.setattr(ti_trainer.training.shared_model, "plan_memory", lambda *_, **__: plan)
    kept = scratch / str(list(WALKS).index(request.param))
    return Place(WALKS[request.param], config, root, kept, run_quietly(model_in_memory))


def each_of(count: int, most: int | None, shift: float) -> list[int]:
    """All numbers below `count`, or `most` of them, spread; shift: from 0 to 1, for others each time."""
    return list(range(count)) if most is None else [int((number + shift) * count / most) for number in range(most)]


@pytest.fixture
def undisturbed(place: Place, seen: dict[Path, Any]) -> tuple[dict[str, Any], dict[str, Any], int]:
    """What is there before the command and after it, and the number of its operations."""
    if place.kept not in seen:
        place.prepare()
        before = place.contents()
        with place.watched(None) as disk:
            place.type()
        seen[place.kept] = (before, place.contents(), len(disk.operations))
    return seen[place.kept]


@pytest.mark.parametrize("place", WALKS, indirect=True)
@pytest.mark.parametrize("tears", [False, True], ids=["killed", "torn"])
def test_killed_and_typed_again(place: Place, undisturbed: Any, tears: bool) -> None:
    before, wanted, count = undisturbed
    assert count > 20
    for number in each_of(count, KILLS, shift=tears / 2):
        place.prepare()
        with pytest.raises(Killed), place.watched(number, tears=tears) as disk:
            place.type()
        where = f"killed at operation {number}: {disk.operations[number]}"
        for name, content in place.contents().items():
            finals = (before.get(name), wanted.get(name))
            if isinstance(content, bytes) and any(finals) and not name.endswith("metrics.jsonl"):
                assert content in finals, f"{where}: {name} is half"
        place.type()
        assert place.contents() == wanted, where


@pytest.mark.parametrize("place", WALKS, indirect=True)
@pytest.mark.parametrize("number", PROBLEMS, ids=errno.errorcode.get)
@pytest.mark.parametrize("stays", [False, True], ids=["once", "from then on"])
def test_a_fault_is_a_sentence(place: Place, undisturbed: Any, number: int, stays: bool) -> None:
    _, wanted, count = undisturbed
    for at in each_of(count, FAULTS, shift=(2 * PROBLEMS.index(number) + stays) / 6):
        place.prepare()
        problem: BadInput | OSError | None = None
        fault = partial(OSError, number, os.strerror(number))
        with place.watched(at, problem=fault, stays=stays) as disk:
            try:
                place.type()
            except (BadInput, OSError) as error:
                problem = error
        where = f"{os.strerror(number)} at operation {at}: {disk.operations[at]}"
        if problem:
            assert os.strerror(number) in str(problem), where
            assert not re.search(r"\n|Errno|Error\(", str(problem)), where
            assert isinstance(problem, BadInput) or problem.errno is None, where
        place.type()
        assert place.contents() == wanted, where
