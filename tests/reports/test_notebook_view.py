"""What notebooks show is plain HTML that holds its pictures."""

from __future__ import annotations

import base64
from pathlib import Path

from ti_trainer.reports.notebook_view import as_html, run_as_html


def test_text_is_escaped_and_pictures_are_inside() -> None:
    shown = as_html(["<my-cat> & more", "a folder"], [b"one", b"two"])
    assert "<p>&lt;my-cat&gt; &amp; more<br>a folder</p>" in shown
    for content in (b"one", b"two"):
        assert f'src="data:image/png;base64,{base64.b64encode(content).decode()}"' in shown
    assert "http" not in shown


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    """Of a run without plots, or of one whose output is a bucket."""
    assert run_as_html(["x"], tmp_path / "nowhere") == as_html(["x"], [])
