"""Where sample data and configs lie: inside an installed package, or beside the package in a checkout."""

from __future__ import annotations

import re
from pathlib import Path

TINY_SD = "tiny-sd"
TINY_CLIP = "tiny-clip"
JUDGE = "judge"
MY_CAT = "my-cat"


def shipped(path: str) -> Path:
    """What a checkout has at `path`."""
    package = Path(__file__).resolve().parents[1]
    installed = package / path
    return installed if installed.exists() else package.parent / path


def sample_data(name: str) -> Path:
    """The folder `sample_data/name`."""
    return shipped(f"sample_data/{name}")


def is_bundled(images: str) -> bool:
    """Whether these pictures are of ours."""
    return images == MY_CAT or sample_data("").resolve() in Path(images).resolve().parents


def resolve_config(path: str) -> str:
    """`path`, or our own `configs/NAME.yaml` where there is none, in any folder; NAME alone stands for it too."""
    name = re.fullmatch(r"configs/([\w-]+)\.yaml|([\w-]+)", path)
    ours = shipped(f"configs/{name[1] or name[2]}.yaml") if name else None
    return str(ours) if ours and ours.exists() and not Path(path).exists() else path


def resolve(path: str) -> str:
    """`path`, or the bundled folder of that name if the path does not exist."""
    bundled = sample_data(path) if path in (TINY_SD, TINY_CLIP, JUDGE, MY_CAT) else None
    return str(bundled) if bundled and not Path(path).exists() else path
