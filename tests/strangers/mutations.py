"""Good files, and changes of them as chance has it: what readers must survive.

    python -m tests.strangers.mutations [--seconds 3600 | --count 50000] [--seed 1]

Each input is a function of the seed and its number. The input at hand lies in a file until it has been read, so that
one which ends the process is there to be looked at.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import itertools
import json
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from tests.strangers.bad_inputs import card_of, saved
from tests.strangers.readers import READERS
from ti_trainer.config.concept import Concept
from ti_trainer.config.config import TrainConfig
from ti_trainer.config.settings import configs_to_yaml
from ti_trainer.data.images import readable_formats
from ti_trainer.embedding_files import Embedding
from ti_trainer.embedding_files.formats import pack_a1111, pack_card, pack_diffusers
from ti_trainer.errors import BadInput

SECONDS = 2.0  # of the processor
HANGS = 60  # seconds after which the process ends with a traceback of where it is
MIB = 2**20
MOST_MEMORY = 500 * MIB
LONGEST_MESSAGE = 6_000  # letters

SETTINGS = [
    TrainConfig(Concept("<my-cat>", images="photos/cat", init="cat"), model="models/sd15", lr=0.01, steps=400),
    TrainConfig(Concept("<my-dog>", images="photos/dog"), model="models/sd15", lr=0.01, steps=400, name="dog"),
]
YAML = configs_to_yaml(SETTINGS) + "\n"
MERGED = "lr: 1e-2\nconcepts:\n  - &a {token: <a>, steps: 5}\n  - {<<: *a, token: <b>}\n"
ROWS = [{"file_name": "a.png", "text": "a photo of {token}"}, {"file_name": "b/c.png", "text": ["one", "two {token}"]}]
CONCEPTS = [{"token": "<a>", "images": "x", "lr": 0.01, "flip": True}, {"token": "<b>", "steps": 5, "init": None}]
TEXT = "a photo of {token}, the <cat>, [filewords] <|row|>\nKätzchen 猫 {}\n"
CSV = 'file_name,text\n"a, b.png","the ""{token}"""\nc.png,two\n'

# what means something to some reader, put in at random
WORDS = [
    *(b"\0", b"\xff", b"\n", b"\r\n", b" ", b",", b":", b'"', b"'", b"\\", b"[", b"]", b"{", b"}", b"- ", b"? ", b"#"),
    *(b"&a ", b"*a ", b"<<: ", b"!!int ", b"!!float ", b"!!timestamp ", b"!!python/object:os.x ", b"|\n", b"---\n"),
    *(b"2024-01-01", b"9" * 200, b"0x" + b"f" * 200, b"1:59:59", b"1e999", b"NaN", b".inf", b"~", b"true", b"null"),
    *(b"{token}", b"[name]", b"[filewords]", b"<|row|>", b"\\ud800", b"\\u0000", b"\xed\xa0\x80", b"\xef\xbb\xbf"),
    *(
        b"\xff\xfe",
        b"PK\x01\x02",
        b"PK\x03\x04",
        b"\xff\xda",
        b"\xff\xd8",
        b"IDAT",
        b"iCCP",
        b"eXIf",
        b"../",
        b"TORCHTENSOR",
    ),
    *(
        b"c_codecs\nencode\n",
        b"cos\nsystem\n",
        b"\x85",
        b"\x86",
        b"R",
        b"(",
        b"t",
        b"}",
        b"s",
        b".",
        b"\x80\x02",
        b"q\0h\0",
    ),
]


def in_memory(content: object, legacy: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def pictures() -> Iterator[tuple[str, bytes]]:
    draws = np.random.default_rng(0)
    colour = Image.fromarray(draws.integers(0, 256, (32, 24, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[274] = 6
    for kind, suffix in (("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp"), ("GIF", "gif"), ("BMP", "bmp")):
        yield suffix, saved(colour, kind)
    yield "tif", saved(colour, "TIFF", compression="tiff_lzw")
    yield "avif", saved(colour, "AVIF")
    if "HEIF" in readable_formats():  # which asks for it of Pillow
        yield "heic", saved(colour, "HEIF")
    yield "png", saved(Image.fromarray(draws.integers(0, 65536, (32, 24), dtype=np.uint16)), "PNG")
    yield "png", saved(colour.convert("P"), "PNG", transparency=3)
    yield "png", saved(colour.convert("RGBA"), "PNG", exif=exif)
    yield "jpg", saved(colour, "JPEG", progressive=True, exif=exif)
    yield "tif", saved(colour.convert("CMYK"), "TIFF")
    yield "gif", saved(colour, "GIF", save_all=True, append_images=[colour.rotate(90)], comment=b"a comment")


def embeddings() -> Iterator[tuple[str, bytes]]:
    rows = torch.randn(2, 768, generator=torch.Generator().manual_seed(0))
    found = Embedding("<cat>", {"clip_l": rows}, {"ti_trainer.step": "5", "a": "b"})
    yield "safetensors", pack_diffusers(found)[0]
    yield "safetensors", save({"clip_l": rows, "clip_g": torch.ones(2, 1280)}, {"format": "pt"})
    yield "pt", pack_a1111(found)[0]
    step = np.int64(5)
    for legacy in (False, True):
        content = {"string_to_param": torch.nn.ParameterDict({"*": rows}), "name": "cat", "step": step}
        yield "pt", in_memory({"<cat>": rows}, legacy)
        yield "pt", in_memory(content if not legacy else {"*": rows, "step": step}, legacy)
    yield "png", pack_card(found)[0]
    yield "png", card_of(step=5, sd_checkpoint_name="model")
    yield "webp", saved(Image.open(io.BytesIO(pack_card(found)[0])).convert("RGB"), "WEBP", lossless=True)


@cache
def good_files() -> dict[str, list[tuple[str, bytes]]]:
    """For each reader endings and contents of files that it reads."""
    shown = list(pictures())
    lines = "\n".join(map(json.dumps, ROWS))
    concepts = "\n".join(map(json.dumps, CONCEPTS))
    return {
        "caption": [("txt", TEXT.encode()), ("txt", TEXT.encode("utf-16"))],
        "templates": [("txt", TEXT.encode())],
        "name": [("txt", b"03-black_cat on_sofa (2)")],
        "list of pictures": [("jsonl", lines.encode()), ("csv", CSV.encode())],
        "list of concepts": [
            ("jsonl", concepts.encode()),
            ("yaml", MERGED[9:].encode()),
            ("csv", b"token,lr,flip,steps\n<a>,1e-2,true,5\n<b>,,,\n"),
        ],
        "config": [("yaml", YAML.encode()), ("yaml", MERGED.encode())],
        "picture": shown,
        "picture, looked at": shown,
        "mask": shown,
        "embedding": list(embeddings()),
    }


def mutated(data: bytes, draws: random.Random) -> bytes:
    """The bytes with one to eight changes."""
    changed = bytearray(data)
    for _ in range(draws.choice((1, 1, 2, 4, 8))):
        place = draws.randrange(len(changed) + 1)
        # near the beginning, where headers are, as often as anywhere
        place = draws.choice((place, min(place, draws.randrange(64))))
        length = draws.choice((1, 2, 4, 8, 64, 1024))
        match draws.randrange(8):
            case 0:
                changed[place : place + 1] = bytes([draws.randrange(256)])
            case 1:
                changed[place : place + length] = b""
            case 2:
                changed[place:place] = changed[place : place + length] * draws.choice((1, 2, 100))
            case 3:
                changed[place:place] = draws.choice(WORDS) * draws.choice((1, 1, 2, 5_000))
            case 4:
                changed[place : place + length] = draws.choice(WORDS)
            case 5:
                number = draws.choice((0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**24))
                changed[place : place + 4] = number.to_bytes(4, draws.choice(("little", "big")))
            case 6:
                changed[place : place + length] = draws.randbytes(length)
            case 7:
                del changed[place:]
    return bytes(changed)


def memory(what: str) -> int:
    """VmRSS, what is held now, or VmHWM, the most since it was reset, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))


def trouble(reader: str, path: Path) -> str:
    """What is wrong with how a file was read, or nothing: it is read, or refused in a sentence, and soon."""
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak of the memory
    held = memory("VmRSS")
    began = time.process_time()
    problem = ""
    try:
        READERS[reader](path)
    except BadInput as refusal:
        said = str(refusal)
        problem = "" if len(said) < LONGEST_MESSAGE else f"says {len(said)} letters: {said[:500]!r}"
    except Exception:
        problem = traceback.format_exc()
    seconds = time.process_time() - began
    grown = memory("VmHWM") - held
    if seconds > SECONDS or grown > MOST_MEMORY:
        problem += f" took {seconds:.1f} s and {grown / MIB:.0f} MiB"
    return problem


def search(
    folder: Path, numbers: Iterator[int], seed: int, until: float = float("inf")
) -> tuple[Counter[str], list[str]]:
    """How many inputs each reader was given, and what went wrong, with the file that did it."""
    tried: Counter[str] = Counter()
    found: list[str] = []
    warnings.simplefilter("ignore")
    for number in numbers:
        if time.monotonic() > until:
            break
        draws = random.Random(f"{seed} {number}")
        reader = draws.choice(sorted(good_files()))
        suffix, data = draws.choice(good_files()[reader])
        path = folder / f"{number}.{suffix}"
        path.write_bytes(mutated(data, draws))
        faulthandler.dump_traceback_later(HANGS, exit=True)
        problem = trouble(reader, path)
        tried[reader] += 1
        if problem:
            found.append(f"{reader}: {path}: {problem}")
        else:
            path.unlink()
    faulthandler.cancel_dump_traceback_later()
    return tried, found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    numbers = iter(range(options.count)) if options.count else itertools.count()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    print(f"inputs lie in {folder}")
    tried, found = search(folder, numbers, options.seed, time.monotonic() + options.seconds)
    print("\n".join(found))
    print(f"{sum(tried.values()):,} inputs ({dict(sorted(tried.items()))}), {len(found)} findings")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
