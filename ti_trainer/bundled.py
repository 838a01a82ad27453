"""Where the sample data lies: inside an installed package, or beside the package in a checkout."""

from __future__ import annotations

from pathlib import Path

TINY_SD = "tiny-sd"
TINY_CLIP = "tiny-clip"
JUDGE = "judge"
MY_CAT = "my-cat"


def sample_data(name: str) -> Path:
    """The folder `sample_data/name`."""
    package = Path(__file__).resolve().parent
    installed = package / "sample_data" / name
    return installed if installed.exists() else package.parent / "sample_data" / name


def resolve(path: str) -> str:
    """`path`, or the bundled folder of that name if the path does not exist."""
    bundled = sample_data(path) if path in (TINY_SD, TINY_CLIP, JUDGE, MY_CAT) else None
    return str(bundled) if bundled and not Path(path).exists() else path
