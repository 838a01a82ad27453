"""Pages of runs that nobody has trained, with text that strangers might have written."""

from __future__ import annotations

import math
from typing import Any

from PIL import Image

from ti_trainer.reports.curves import curves_of
from ti_trainer.reports.inline_pictures import data_uri
from ti_trainer.reports.run_report import NearWords, PreviewRow, Reference, RunReport

HOSTILE = "</figcaption><script>document.title = 'taken'</script>\"'{{ 7 * 7 }}<!-- end of evaluation -->"


def picture(number: int, side: int = 64) -> str:
    return data_uri(Image.new("RGB", (side, side), (40 * number % 256, 90, 255 - 40 * number % 256)), 384)


def report_of(**changes: Any) -> RunReport:
    """A finished run of 100 steps, of which four were drawn."""
    records: list[dict[str, Any]] = [
        {
            "step": step,
            "loss": 0.3 + 0.1 * math.sin(step * 1.7) - 0.001 * step,
            "length_ratio": 1.0,
            "cosine_to_init": math.cos(step / 90),
            **({"validation_loss": 0.35 - 0.002 * step} if step % 10 == 0 else {}),
        }
        for step in range(1, 101)
    ]
    facts: dict[str, Any] = {
        "token": "<my-cat>",
        "model": "stabilityai/stable-diffusion-xl-base-1.0",
        "state": "finished",
        "step": 100,
        "steps": 100,
        "best_step": 90,
        "summary": "5 pictures of 512 x 512, 27 captions",
        "references": [
            Reference(f"cat-{n}.jpg", picture(n), "512 x 512, shown at 512 x 512", ["a <my-cat>"]) for n in range(5)
        ],
        "columns": ["a photo of a <my-cat>", "a photo of a <my-cat> on the beach", "a painting of a <my-cat>"],
        "previews": [
            PreviewRow(step, step == 90, [picture(step // 10 + column) for column in range(3)])
            for step in (0, 30, 60, 90)
        ],
        "curves": curves_of(records, 0.36, 90),
        "near": [NearWords(f"row {n}", [("cat", 0.91), ("striped", 0.4), ("orange", 0.33)]) for n in (1, 2)],
        "notes": ["IMG_1.jpg and IMG_2.jpg are nearly the same picture"],
        "settings": [("images", "photos/my-cat", "my-cat"), ("steps", "100", "300")],
        "figures": [("time so far", "61 s"), ("memory", "1.2 GiB at most")],
        "uses": [
            ("A1111, Forge", "copy it into embeddings/"),
            ("diffusers", "pipeline.load_textual_inversion('x')\npipeline()"),
        ],
    }
    return RunReport(**{**facts, **changes})


FIGURES: dict[str, Any] = {
    "prompts": ["a {token}", "a {token} at sea"],
    "seeds": [0, 1],
    "references": 5,
    "level": 0.95,
    "figures": [
        {
            "judge": "openai/clip-vit-base-patch32",
            "measure": "identity",
            "real": None,
            "means": {"<my-cat>": 0.8123, '"cat", untrained': 0.7},
            "differences": {
                '"cat", untrained': {"checkpoint": False, "mean": 0.1123, "low": 0.05, "high": 0.2},
                "step 20": {"checkpoint": True, "mean": 0.3, "low": 0.2, "high": 0.4},
            },
        }
    ],
}
