"""What processes are told, what each of them does, and what one takes over from another."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

import ti_trainer.training.jobs
from tests.running import on_step
from ti_trainer import TrainConfig, train, train_all
from ti_trainer.errors import Interrupted
from ti_trainer.training.jobs import deal
from ti_trainer.training.processes import Processes, choose_dtype

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
@pytest.mark.parametrize("launched_with", ["no", "bf16", "fp16", "fp8"])
@pytest.mark.parametrize("device", [CPU, CUDA])
def test_what_was_asked_for_comes_first(
    precision: str, dtype: torch.dtype, launched_with: str, device: torch.device
) -> None:
    assert choose_dtype(precision, launched_with, device) == dtype


@pytest.mark.parametrize(("launched_with", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
@pytest.mark.parametrize("device", [CPU, CUDA])
def test_auto_is_what_accelerate_was_told(launched_with: str, dtype: torch.dtype, device: torch.device) -> None:
    assert choose_dtype("auto", launched_with, device) == dtype


@pytest.mark.parametrize("has_bf16", [False, True])
def test_auto_by_device(monkeypatch: pytest.MonkeyPatch, has_bf16: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_bf16)
    assert choose_dtype("auto", "no", CUDA) == (torch.bfloat16 if has_bf16 else torch.float32)
    assert choose_dtype("auto", "no", CPU) == torch.float32
    assert choose_dtype("auto", "no", torch.device("mps")) == torch.float32


class OneOfTwo(Processes):
    """A process of two of which the other never says anything."""

    def __init__(self, precision: str) -> None:
        super().__init__(precision)
        self.rank, self.count = 0, 2

    def wait(self) -> None:
        pass


def test_shares_are_all_examples_once() -> None:
    processes = OneOfTwo("fp32")
    for total in (0, 1, 2, 5, 8):
        first, processes.rank = processes.share(total), 1
        assert sorted([*first, *processes.share(total)]) == list(range(total))
        assert len(first) - len(processes.share(total)) in (0, 1)
        processes.rank = 0


def test_alone_is_everything_and_sends_nothing() -> None:
    """The reduce of accelerate is never called; the other view of the processes stays what it was."""
    processes = OneOfTwo("bf16")
    processes.rank = 1
    alone = processes.alone()
    assert (alone.rank, alone.count, alone.is_main, alone.dtype) == (0, 1, True, torch.bfloat16)
    assert (processes.rank, processes.count, processes.is_main) == (1, 2, False)
    assert list(alone.share(3)) == [0, 1, 2]
    tensors = [torch.arange(6.0).view(2, 3), torch.tensor(7.0)]
    (first, second), (third,) = alone.sum(tensors, [torch.tensor([1.0, 2.0])])
    assert torch.equal(first, tensors[0])
    assert torch.equal(second, tensors[1])
    assert torch.equal(third, torch.tensor([1.0, 2.0]))
    assert (alone.any(True), alone.any(False)) == (True, False)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_deal(make_config: Callable[..., TrainConfig], count: int) -> None:
    """Own ones first, of which each belongs to one process; then all others, in their order."""
    configs = [make_config(token=f"<c-{number}>") for number in range(5)]
    owned: list[TrainConfig] = []
    for rank in range(count):
        dealt = deal(configs, rank, count)
        own = configs[rank::count]
        assert dealt == own + [config for config in configs if config not in own]
        owned += own
    assert sorted(config.run_name for config in owned) == [config.run_name for config in configs]


@pytest.mark.parametrize("change", [{"output": "memory://runs"}, {"overwrite": True}])
def test_what_cannot_be_seen_of_others_is_not_taken_over(
    make_config: Callable[..., TrainConfig], change: dict[str, Any]
) -> None:
    configs = [make_config(token=f"<c-{number}>", **change) for number in range(5)]
    assert [deal(configs, rank, 2) for rank in range(2)] == [configs[::2], configs[1::2]]


@pytest.mark.long
def test_what_others_leave_undone_is_taken_over(
    make_config: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the other's: one is finished, one half-done by a process that was killed, one not begun, one being trained."""
    output = tmp_path / "runs"
    configs = [
        make_config(token=f"<c-{number}>", num_vectors=1, init="cat", steps=6, micro_batch_size=3)
        for number in range(8)
    ]
    alone = [train(replace(config, output=str(tmp_path / "alone"))) for config in configs[:6]]

    def stop(line: dict[str, Any]) -> None:
        if line["step"] == 4:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted):
        train(replace(configs[3], output=str(tmp_path / "half")), [on_step(stop)])
    seen: list[tuple[str, int]] = []

    def meanwhile(line: dict[str, Any]) -> None:
        """What the other process does when this one has begun."""
        if not seen:
            shutil.copytree(tmp_path / "alone" / "c-1", output / "c-1")
            (output / "manifest").mkdir()
            entry = (tmp_path / "alone" / "manifest" / "c-1.json").read_text()
            (output / "manifest" / "c-1.json").write_text(entry.replace(str(tmp_path / "alone"), str(output)))
            shutil.copytree(tmp_path / "half" / "c-3", output / "c-3")
            (output / "c-7").mkdir()
            lock.acquire()
        seen.append((line["token"], line["step"]))

    lock = FileLock(output / "c-7" / ".lock")
    monkeypatch.setattr(ti_trainer.training.jobs, "Processes", OneOfTwo)
    try:
        runs = train_all(configs, [on_step(meanwhile)])
    finally:
        lock.release()
    assert [Path(run.folder).name for run in runs] == ["c-0", "c-2", "c-3", "c-4", "c-5", "c-6"]
    began = list(dict.fromkeys(token for token, _ in seen))
    assert began == ["<c-0>", "<c-2>", "<c-4>", "<c-6>", "<c-3>", "<c-5>"], "its own first, then what others left"
    first = {token: min(step for other, step in seen if other == token) for token, _ in seen}
    last_checkpoint = max(int(path.stem[5:]) for path in (tmp_path / "half" / "c-3" / "checkpoints").iterdir())
    assert 4 <= last_checkpoint < 6
    assert first == {"<c-0>": 1, "<c-2>": 1, "<c-4>": 1, "<c-6>": 1, "<c-3>": last_checkpoint + 1, "<c-5>": 1}
    assert sorted(path.stem for path in (output / "manifest").iterdir()) == [f"c-{number}" for number in range(7)]
    for run in alone:
        name = Path(run.folder).name
        last = f"{name}/checkpoints/step-000006.safetensors"
        found, wanted = (load_file(folder / last)["rows.clip_l"] for folder in (output, tmp_path / "alone"))
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
        lines = [json.loads(line) for line in (output / name / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
