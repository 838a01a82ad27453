"""Lines of the manifest."""

from __future__ import annotations

import pytest

from ti_trainer.errors import BadInput
from ti_trainer.runs.manifest import Manifest, as_line, line_of


def test_what_was_learned_and_what_failed() -> None:
    lines = {
        "b": b'{"status": "failed", "code": "bug"}',
        "a": b'{"token": "<a>"}',  # of a writer that knows no status
        "c": b'{"status": "finished"}',
        "list.csv,7": b'{"status": "failed"}',
        "half": b'{"status": "fai',
        "list": b"[1]",
        ".hidden": b"{}",
    }
    manifest = Manifest.of(lines)
    assert list(manifest.published) == ["a", "c"]
    assert list(manifest.failed) == ["b", "list.csv,7"]


def test_a_line_is_one_line() -> None:
    assert as_line({"a": "b\nc", "d": [float("nan"), 1.5], "e": {"f": float("inf")}}) == (
        b'{"a": "b\\nc", "d": [null, 1.5], "e": {"f": null}}\n'
    )
    assert line_of("my-cat") == "manifest/my-cat.json"
    for name in ("../x", "a,1", "con"):
        with pytest.raises(BadInput):
            line_of(name)
