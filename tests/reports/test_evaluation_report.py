"""Tables, JSON and pictures of evaluations whose numbers are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.evaluations import Told, evaluation
from tests.running import checkpoint
from ti_trainer import Run
from ti_trainer.reports.arms import read_subject
from ti_trainer.reports.evaluation import Evaluation
from ti_trainer.reports.evaluation_report import figures_of, picture_sheet, report_text, write_report

CLIP = Told("tiny", ("identity", "prompt"), reals={"identity": 0.9})
DINO = Told("dino", ("identity",), kind="dinov2")
VALUES = {
    "<my-cat>": {"tiny.identity": [0.5, 0.7], "tiny.prompt": [0.3, 0.3], "dino.identity": [0.25, 0.75]},
    '"cat", untrained': {"tiny.identity": [0.25, 0.45], "tiny.prompt": [0.4, 0.24], "dino.identity": [0.0, 0.5]},
    "step 2": {"tiny.identity": [0.4, 0.5], "tiny.prompt": [0.5, 0.5], "dino.identity": [0.1, 0.1]},
    "step 4": {"tiny.identity": [0.8, 0.8], "tiny.prompt": [0.1, 0.1], "dino.identity": [0.1, 0.1]},
}


@pytest.fixture
def found() -> Evaluation:
    return evaluation(VALUES, [CLIP, DINO])


TABLE = """\
<my-cat> on tiny-sd, a "cat": 2 prompts, each from 1 seed; 20 steps, guidance 5
2 pictures of the concept, 1 of them masked

tiny (clip, weights 123)
                    identity  prompt
  <my-cat>             0.600   0.300
  real pictures        0.900
  "cat", untrained     0.350   0.320
> step 2               0.450   0.500
  step 4               0.800   0.100

dino (dinov2, weights 123)
                    identity
  <my-cat>             0.500
  "cat", untrained     0.250
> step 2               0.100
  step 4               0.100

<my-cat> less "cat", untrained  difference  95% interval
tiny: identity                      +0.250  +0.250 to +0.250
tiny: prompt                        -0.020  -0.100 to +0.060
dino: identity                      +0.250  +0.250 to +0.250

<my-cat> less step 2  difference  95% interval
tiny: identity            +0.150  +0.100 to +0.200
tiny: prompt              -0.200  -0.200 to -0.200
dino: identity            +0.400  +0.150 to +0.650

best checkpoint by identity (tiny) x prompt (tiny): step 2, written to FOLDER/my-cat.safetensors"""


def test_the_whole_report(found: Evaluation, finished_run: Run, tmp_path: Path) -> None:
    """Of two pictures every resampled mean is the lower, the higher or between."""
    subject = read_subject(str(finished_run.folder))
    figures = write_report(subject, found, tmp_path, best="both")
    assert report_text(figures, False) == TABLE.replace("FOLDER", str(tmp_path))
    assert json.loads((tmp_path / "evaluation.json").read_text()) == json.loads(report_text(figures, True)) == figures
    rows = load_file(tmp_path / "my-cat.safetensors")["emb_params"]
    assert torch.equal(rows, checkpoint(Path(finished_run.folder), 2)["rows.clip_l"])
    assert {path.name for path in tmp_path.iterdir()} == {
        "pictures.png",
        "curve.png",
        "evaluation.json",
        "my-cat.safetensors",
    }


def test_what_json_says(found: Evaluation, finished_run: Run) -> None:
    figures = figures_of(read_subject(str(finished_run.embedding)), found)
    kept = {"embedding": str(finished_run.embedding), "token": "<my-cat>", "word": "cat", "model": "tiny-sd"}
    kept |= {"prompts": ["a {token}", "a {token} at night"], "seeds": [7], "steps": 20, "guidance": 5.0}
    kept |= {"references": 2, "masked": 1, "level": 0.95}
    assert {name: figures[name] for name in kept} == kept
    assert figures["judges"] == [
        {"name": "tiny", "kind": "clip", "revision": "weights 123"},
        {"name": "dino", "kind": "dinov2", "revision": "weights 123"},
    ]
    first: dict[str, Any] = figures["figures"][0]
    assert (first["judge"], first["measure"], first["pictures"], first["real"]) == ("tiny", "identity", 2, 0.9)
    assert first["means"] == pytest.approx({"<my-cat>": 0.6, '"cat", untrained': 0.35, "step 2": 0.45, "step 4": 0.8})
    assert [each["checkpoint"] for each in first["differences"].values()] == [False, True, True]
    assert figures["figures"][2]["real"] is None
    assert "best" not in figures


def test_without_checkpoints_nothing_is_exported(finished_run: Run, tmp_path: Path) -> None:
    plain = {arm: VALUES[arm] for arm in list(VALUES)[:2]}
    write_report(read_subject(str(finished_run.embedding)), evaluation(plain, [DINO]), tmp_path / "deep" / "folder")
    assert {path.name for path in (tmp_path / "deep" / "folder").iterdir()} == {"pictures.png", "evaluation.json"}


def test_no_curve_where_nobody_reads_prompts(finished_run: Run, tmp_path: Path) -> None:
    write_report(read_subject(str(finished_run.folder)), evaluation(VALUES, [DINO]), tmp_path, best="identity")
    assert not (tmp_path / "curve.png").exists()
    assert (tmp_path / "my-cat.safetensors").exists()


def test_the_sheet_shows_every_arm_beneath_the_real_pictures(found: Evaluation) -> None:
    sheet = np.asarray(picture_sheet(found)).astype(int)
    tops = []
    for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)):
        rows, _ = np.nonzero((sheet == colour).all(-1))
        assert len(rows) == 2 * 160 * 160
        tops.append(rows.min())
    assert tops == sorted(tops)
    assert tops[0] > 160
    with_ink = np.nonzero((sheet.max(-1) < 100).any(1))[0]
    assert (with_ink < tops[0]).any()  # the title of the real pictures
