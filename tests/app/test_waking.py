"""A studio that is made when it is asked for."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from ti_trainer.app import waking
from ti_trainer.app.waking import Waking


def test_it_is_made_once() -> None:
    made: list[int] = []

    def make() -> Any:
        time.sleep(0.05)
        made.append(1)
        return SimpleNamespace(queue="queue", shelf="shelf")

    studio = Waking(make)
    assert made == []
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(studio.queue)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["queue"] * 5
    assert studio.shelf == "shelf"
    assert made == [1]


def test_it_wakes_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waking, "LATEST", 0.01)
    made = threading.Event()

    def make() -> Any:
        made.set()
        return SimpleNamespace(queue=None)

    Waking(make).wake()
    assert made.wait(10)
