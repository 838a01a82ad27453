"""What is free of this machine's memory, and what of it this process has touched."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from ti_trainer.training.memory import machine


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 1000),
        ({"memory.max": "max", "memory.current": "700", "memory.stat": "active_file 1\ninactive_file 2"}, 1000),
        ({"memory.max": "900", "memory.current": "700", "memory.stat": "active_file 30\ninactive_file 5"}, 235),
        ({"memory.max": "900", "memory.current": "950", "memory.stat": "active_file 30\ninactive_file 5"}, 0),
        ({"memory.max": "9000", "memory.current": "700", "memory.stat": "active_file 3\ninactive_file 5"}, 1000),
        (
            {
                "memory/memory.limit_in_bytes": "900",
                "memory/memory.usage_in_bytes": "700",
                "memory/memory.stat": "cache 9\ntotal_inactive_file 40\ntotal_active_file 4",
            },
            244,
        ),
    ],
)
def test_memory_of_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], free: int
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{content}\n", encoding="utf-8")
    assert machine.available_bytes(tmp_path) == free


@pytest.mark.skipif(sys.platform != "linux", reason="where pages are mapped is read from /proc")
def test_weights_count_when_they_are_touched(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(16, 2**20)}, tmp_path / "weights.safetensors")
    weight = load_file(tmp_path / "weights.safetensors")["weight"]
    assert machine.resident([weight]) < weight.nbytes / 2
    assert weight.sum() == weight.numel()
    assert machine.resident([weight]) == pytest.approx(weight.nbytes, rel=0.01)
    assert machine.resident([torch.ones(1000)]) == 4000


TOUCH = """
import psutil, torch
from ti_trainer.training.memory import machine
cpu, process = torch.device("cpu"), psutil.Process()
held = process.memory_info().rss
blocks = [torch.ones(2**16) for _ in range(256)]  # of 256 KiB each, which lie on the heap
top, peak = process.memory_info().rss, machine.peak_bytes(cpu)
del blocks
machine.give_back()
print(top - held, peak - top, process.memory_info().rss - held, machine.peak_bytes(cpu) - peak)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system keeps what was freed as it likes")
def test_the_peak_stays_and_what_was_freed_is_given_back() -> None:
    """Of 64 MiB that a new process takes and lets go."""
    result = subprocess.run([sys.executable, "-c", TOUCH], capture_output=True, text=True, check=True)
    taken, above, left, later = map(int, result.stdout.split())
    assert 60 * 2**20 < taken < 90 * 2**20
    assert above >= -(2**20)  # the peak of a process may be that of the one that started it
    assert left < 16 * 2**20
    assert later == 0
