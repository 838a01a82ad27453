"""metrics.jsonl, also after a kill."""

from __future__ import annotations

import json
from pathlib import Path

from tests.run_folders import started


def test_metrics(tmp_path: Path) -> None:
    folder = started(tmp_path)
    records = [{"step": step, "token": "<cät>", "loss": step / 3} for step in range(1, 6)]
    folder.metrics.append(records[:2])
    folder.metrics.append(records[2:])
    assert folder.metrics.read() == records
    assert folder.metrics.read(last_step=3) == records[:3]
    lines = folder.files.metrics.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == records


def test_line_that_a_kill_cut_short(tmp_path: Path) -> None:
    folder = started(tmp_path)
    records = [{"step": step, "loss": 0.5} for step in range(1, 4)]
    folder.metrics.append(records)
    whole = folder.files.metrics.read_bytes()
    last_line = len(json.dumps(records[2])) + 1
    for missing in range(2, last_line + 1):
        folder.files.metrics.write_bytes(whole[:-missing])
        assert folder.metrics.read() == records[:2]
    folder.metrics.rewrite(folder.metrics.read())
    folder.metrics.append(records[2:])
    assert folder.files.metrics.read_bytes() == whole


def test_damaged_lines_are_none(tmp_path: Path) -> None:
    folder = started(tmp_path)
    records = [{"step": step, "loss": 0.5} for step in range(1, 3)]
    folder.metrics.append(records[:1])
    with folder.files.metrics.open("ab") as file:
        file.write(b'\xff\xfe\n[1]\n{"loss": 1}\n{"step": "3"}\nnull\n' + b"[" * 100_000 + b"\n")
    folder.metrics.append(records[1:])
    assert folder.metrics.read(2) == records
    folder.metrics.sync()
    folder.files.metrics.unlink()
    assert folder.metrics.read() == []
