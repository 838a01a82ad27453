"""Two processes learn the rows that one learns from the same global batch, and only the first of them writes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ti_trainer import Concept, TrainConfig, train
from ti_trainer.settings import config_to_yaml

REPOSITORY = Path(__file__).resolve().parents[1]
PROCESSES = 2

# Trains from each YAML file; the last line printed lists what this process wrote, made, renamed or deleted.
SCRIPT = """
import json, os, sys

def watch(event, arguments):
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if (writes or event in ("os.mkdir", "os.rename", "os.remove")) and str(arguments[0]).startswith(sys.argv[1]):
        touched.add(str(arguments[0]))

touched = set()
sys.addaudithook(watch)
import torch
torch.set_num_threads(1)
from ti_trainer import train
from ti_trainer.settings import config_from_mapping, read_yaml

for file in sys.argv[2:]:
    train(config_from_mapping(read_yaml(file)))
print(json.dumps(sorted(touched)))
"""

# odd: processes with 3 and 2 examples, cut into parts of 2; single: nothing to do for the second process
GLOBAL_BATCHES: dict[str, dict[str, Any]] = {
    "even": {"batch_size": 4},
    "odd": {"batch_size": 5, "gradient_accumulation": 2, "validation_samples": 5, "flip": True, "crop": "random"},
    "single": {"batch_size": 1, "validation_samples": 1},
}


@pytest.fixture
def configs(make_config: Callable[..., TrainConfig], two_concepts: tuple[Concept, Concept]) -> list[TrainConfig]:
    return [
        replace(make_config(**changes, max_grad_norm=0.01), concepts=two_concepts, name=name)
        for name, changes in GLOBAL_BATCHES.items()
    ]


def test_two_processes_learn_what_one_learns(configs: list[TrainConfig], tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    files = []
    for config in configs:
        files.append(tmp_path / f"{config.name}.yaml")
        files[-1].write_text(config_to_yaml(replace(config, output=str(shared))))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**os.environ, "WORLD_SIZE": str(PROCESSES), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(shared), *map(str, files)],
            cwd=REPOSITORY,
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(PROCESSES)
    ]
    try:
        alone = [train(config) for config in configs]  # meanwhile
        outputs = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors

    touched = [json.loads(printed.splitlines()[-1]) for printed, _ in outputs]
    assert str(shared / "odd" / "metrics.jsonl") in touched[0]
    assert touched[1] == []
    assert "learned in" in outputs[0][0]
    assert "learned in" not in outputs[1][0]
    for run in alone:
        folder = shared / run.folder.name
        last = "checkpoints/step-000008.safetensors"
        found, wanted = load_file(folder / last)["rows.clip_l"], load_file(run.folder / last)["rows.clip_l"]
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert [(line["step"], line["token"]) for line in lines] == [
            (line["step"], line["token"]) for line in run.history
        ]
        for key in ("loss", "validation_loss", "cosine_to_init"):
            values = [[line[key] for line in history if key in line] for history in (lines, run.history)]
            assert values[0] == pytest.approx(values[1], rel=1e-5), key
        for token, file in run.embeddings.items():
            assert (folder / file.name).exists(), token
