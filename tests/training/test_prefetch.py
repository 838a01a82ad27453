"""Reading ahead: the same concepts, the same problems, and nothing that stays."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch

import ti_trainer.training.prefetch
from tests.running import MakeConfig, MakeTwo, exported, on_step
from ti_trainer import BadInput, TrainConfig, train, train_all
from ti_trainer.data.images import Picture
from ti_trainer.errors import Incomplete
from ti_trainer.families import Family, load_family
from ti_trainer.runs.storage import Storage
from ti_trainer.training.gathering import Gathered, gather
from ti_trainer.training.prefetch import Prefetch


@pytest.fixture
def load(make_config: MakeConfig) -> Callable[[], Family]:
    family = load_family(make_config(), torch.device("cpu"), torch.float32)
    return lambda: family


def waited(prefetch: Prefetch, config: TrainConfig) -> Gathered | None:
    """What the thread has gathered, when it is through."""
    _, future = prefetch._started[id(config)]
    future.exception(timeout=30)
    return prefetch.take(config)


def test_it_is_what_gathering_gives(make_config: MakeConfig, load: Callable[[], Family]) -> None:
    """Also the posteriors, whose pictures are not read again."""
    config = make_config(crop="random", crops=2, flip=True)
    prefetch = Prefetch()
    prefetch.start([config], load)
    ahead = waited(prefetch, config)
    assert ahead is not None
    now = gather(config, load)
    assert [each.captions for each in ahead.examples] == [each.captions for each in now.examples]
    assert ahead.warnings == now.warnings
    for mine, theirs in zip(ahead.views, now.views, strict=True):
        for one, other in zip(mine, theirs, strict=True):
            assert one.view == other.view
            assert torch.equal(one.encode().mean, other.encode().mean)
            assert torch.equal(one.encode().std, other.encode().std)
    assert ahead.encoder._picture is None  # every view had been cut out
    assert ahead.encoder._cut == {}
    prefetch.close()


def test_who_asks_first_reads_himself(make_config: MakeConfig, load: Callable[[], Family]) -> None:
    assert Prefetch().take(make_config()) is None
    gate = threading.Event()

    def slow() -> Family:
        gate.wait(30)
        return load()

    first, second = make_config(), make_config(token="<my-dog>")
    prefetch = Prefetch()
    prefetch.start([first, second], slow)
    assert prefetch.take(second) is None  # the thread is at the first one
    gate.set()
    assert waited(prefetch, first) is not None
    prefetch.close()


def test_problems_are_raised_where_a_concept_is_taken(
    make_config: MakeConfig, load: Callable[[], Family], tmp_path: Path
) -> None:
    bad = make_config(images=str(tmp_path / "nothing"))
    prefetch = Prefetch()
    prefetch.start([bad], load)
    with pytest.raises(BadInput, match="does not exist"):
        waited(prefetch, bad)
    prefetch.close()


def test_nothing_stays(make_config: MakeConfig, load: Callable[[], Family], pictures: Path, tmp_path: Path) -> None:
    """Copies are deleted of what nobody takes, and the thread ends."""
    files = fsspec.filesystem("memory")
    for picture in pictures.iterdir():
        files.pipe(f"/ahead/{picture.name}", picture.read_bytes())
    config = make_config(images="memory://ahead")
    for end in ("drop", "close"):
        prefetch = Prefetch()
        prefetch.start([config], load)
        _, future = prefetch._started[id(config)]
        scratch = future.result(timeout=30).scratch
        assert scratch is not None
        assert Path(scratch.name).exists()
        prefetch.drop(config) if end == "drop" else None
        prefetch.close()
        assert not Path(scratch.name).exists()
    assert not any(thread.name == "prefetch" for thread in threading.enumerate())


def test_a_list_learns_the_same(make_two: MakeTwo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of four waits for the one before; a bad one fails alone, and the second is read while the first learns."""
    read_by: dict[str, str] = {}
    original = ti_trainer.training.prefetch.gather_ahead

    def gather_ahead(config: TrainConfig, *how: Any) -> Any:
        read_by[config.run_name] = threading.current_thread().name
        return original(config, *how)

    monkeypatch.setattr(ti_trainer.training.prefetch, "gather_ahead", gather_ahead)
    monkeypatch.setattr(ti_trainer.training.admission.Admission, "has_room", lambda self, config: not self.seats)
    cat, dog = make_two(steps=2, validate_every=0)
    found = replace(cat, name="found", concept=replace(cat.concept, init="auto"))
    bad = replace(cat, name="bad", concept=replace(cat.concept, images=(str(tmp_path / "none"),)))
    with pytest.raises(Incomplete, match=r"1 of 4 concepts failed:\n  bad: .*does not exist"):
        train_all([cat, found, bad, dog], [on_step(lambda line: time.sleep(0.3))])
    assert set(read_by) == {"found", "bad", "my-dog"}
    assert set(read_by.values()) == {"prefetch"}
    assert list(Storage(cat.output).published()) == ["found", "my-cat", "my-dog"]
    for config in (found, dog):
        alone = train(replace(config, output=str(tmp_path / "alone")))
        together = Path(config.output, config.run_name, alone.embedding.name)  # type: ignore[union-attr]
        assert torch.equal(exported(replace(alone, embedding=together)), exported(alone))


def test_the_end_does_not_wait_for_all_pictures(
    make_config: MakeConfig, load: Callable[[], Family], monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the one that is being read: a thread within torch would end the interpreter with SIGABRT."""
    read: list[str] = []
    at = Picture.at

    def slow_at(*arguments: Any) -> Picture:
        picture = at(*arguments)

        def slow() -> bytes:
            read.append(picture.name)
            time.sleep(0.2)
            return picture.read()

        return Picture(picture.name, slow)

    monkeypatch.setattr(Picture, "at", slow_at)
    prefetch = Prefetch()
    prefetch.start([make_config(), make_config(name="other")], load)
    while not read:
        time.sleep(0.01)
    begun = time.monotonic()
    prefetch.close()
    assert time.monotonic() - begun < 5
    assert not any(thread.name == "prefetch" for thread in threading.enumerate())
    assert len(read) <= 4  # of the 16 that both take
