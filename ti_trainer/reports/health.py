"""What a machine has for training, and what would be slow or fail on it; quick things first."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

from ..files.model_places import models_on_this_machine
from ..files.remote import is_remote
from ..files.wording import listing, printable

PACKAGE = "ti-trainer"
SHOWN = ("torch", "diffusers", "transformers", "accelerate", "safetensors", "pillow", "datasets")
GIB = 2**30
# bytes: of a run with its previews, of SD 1.5 in float32 with a batch of one, and of the same in bfloat16
LEAST_DISK = GIB // 10
SD15_FP32 = 8 * GIB
SD15_BF16 = 4 * GIB


@dataclass(frozen=True)
class Finding:
    """A line: what was looked at, what it is, and what follows."""

    name: str
    value: str
    advice: str = ""  # what would be slow, or fail, and the cure
    fails: bool = False  # training would not even begin


def look(output: str, models_dir: str | None = None) -> Iterator[Finding]:
    """Findings one after the other, so that the first is there at once; output: where runs are to be written."""
    yield Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield packages()
    yield extras()
    yield disk(output)
    yield hub()
    found = models_on_this_machine(models_dir)
    yield Finding("models", listing(found) or "none but the miniature tiny-sd", "" if found else MODELS)
    yield memory()
    yield from devices()


MODELS = "name one with --model: a folder, a checkpoint, or a hub id, which is downloaded"


def packages() -> Finding:
    """The versions of what training needs."""
    present = {name: installed(name) for name in (PACKAGE, *SHOWN)}
    missing = [name for name, found in present.items() if found is None]
    shown = ", ".join(f"{name} {found}" for name, found in present.items() if found)
    cure = f"pip install {' '.join(missing)}" if missing else ""
    return Finding("packages", shown, cure, bool(missing))


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def extras() -> Finding:
    """Which extras are there, by what the package says that each needs."""
    try:
        names = metadata(PACKAGE).get_all("Provides-Extra") or []
        needs = requires(PACKAGE) or []
    except PackageNotFoundError:  # run from a checkout
        return Finding("extras", "unknown, because the package itself is not installed")
    wanted = {name: [of(line) for line in needs if re.search(rf"extra == ['\"]{name}['\"]", line)] for name in names}
    have = [name for name, packages in wanted.items() if packages and all(map(installed, packages))]
    lack = [name for name in wanted if name not in have]
    return Finding("extras", (listing(have) or "none") + (f"; not here: {listing(lack)}" if lack else ""))


def of(requirement: str) -> str:
    """The name of the package in a requirement."""
    return re.split(r"[\s<>=!~;\[]", requirement, maxsplit=1)[0]


def disk(output: str) -> Finding:
    """How much may be written where runs go."""
    if is_remote(output):
        return Finding("output", f"{printable(output)} is a URL; runs are made in the cache of this user first")
    place = Path(output).absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    value = f"{printable(output)}: {free / GIB:.1f} GiB free"
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        return Finding("output", value, f"{printable(place)} cannot be written; choose another folder", True)
    if free < LEAST_DISK:
        return Finding("output", value, "make room, or choose another folder", True)
    return Finding("output", value)


def hub() -> Finding:
    """Where models are downloaded to, and whether that is allowed."""
    from huggingface_hub import constants

    place = Path(constants.HF_HUB_CACHE)
    offline = "models are not downloaded: HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else ""
    return Finding("hub", f"cache in {printable(place)}", offline)


def memory() -> Finding:
    import psutil

    have = psutil.virtual_memory()
    value = f"{have.total / GIB:.1f} GiB, {have.available / GIB:.1f} free; {os.cpu_count()} processors"
    return Finding("memory", value)


def devices() -> Iterator[Finding]:
    """What computes; torch takes seconds to load, so this comes last."""
    import psutil
    import torch

    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        kind = "bf16" if torch.cuda.is_bf16_supported() else "fp32 (no bf16)"
        small = about.total_memory < SD15_BF16
        advice = "too small for SD 1.5 with a batch of 8; it takes smaller batches by itself" if small else ""
        yield Finding("device", f"cuda:{number} {about.name}, {about.total_memory / GIB:.1f} GiB, {kind}", advice)
    if torch.cuda.is_available():
        return
    threads = torch.get_num_threads()
    slow = "no GPU: SD 1.5 takes hours here; the miniature tiny-sd learns in a minute"
    if psutil.virtual_memory().available < SD15_FP32:
        slow += f"; SD 1.5 in fp32 needs about {SD15_FP32 // GIB} GiB, which are not free"
    yield Finding("device", f"cpu with {threads} threads, fp32", slow)


def as_text(finding: Finding) -> str:
    mark = "FAILS" if finding.fails else "note"
    return f"{finding.name + ':':10} {finding.value}" + (f"\n{'':10} {mark}: {finding.advice}" * bool(finding.advice))


def as_json(findings: Sequence[Finding]) -> str:
    """One object with a list; `healthy` where training would begin."""
    healthy = not any(each.fails for each in findings)
    return json.dumps({"healthy": healthy, "findings": [asdict(each) for each in findings]}, indent=2)
