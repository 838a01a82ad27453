"""Small files that make careless readers hang, eat the memory or end the process."""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

MIB = 2**20


# --- what is no file ---


def pipe(path: Path) -> None:
    os.mkfifo(path)


def link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def hole(size: int, start: bytes = b"") -> Callable[[Path], None]:
    """A file of a size that takes no place on the disk."""

    def write(path: Path) -> None:
        with path.open("wb") as file:
            file.write(start)
            file.truncate(size)

    return write


def holding(content: str | bytes | Callable[[], str | bytes]) -> Callable[[Path], None]:
    """A file with this content, or with what is made when it is written."""

    def write(path: Path) -> None:
        made = content() if callable(content) else content
        path.write_bytes(made.encode() if isinstance(made, str) else made)

    return write


# --- text ---


def bomb(leaf: str, link_of: str, doublings: int = 9) -> str:
    """YAML in which each line repeats the one before nine times."""
    lines = [f"a0: &a0 {leaf}"]
    for n in range(doublings):
        lines.append(f"a{n + 1}: &a{n + 1} {link_of.format(', '.join([f'*a{n}'] * 9))}")
    return "\n".join(lines)


# --- pictures ---


def png(width: int, height: int, depth: int = 8, colour: int = 2, more: bytes = b"") -> bytes:
    """A PNG that claims a size and holds nothing; more: chunks after the header."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more
    return start + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def saved(image: Image.Image, kind: str, **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def jpeg_of_many_scans() -> bytes:
    """A progressive JPEG with its last scan a hundred thousand times."""
    whole = saved(Image.new("RGB", (2_000, 2_000), "orange"), "JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * 100_000 + whole[-2:]


def gif_of_65535_pixels() -> bytes:
    data = bytearray(saved(Image.new("1", (1, 1)), "GIF"))
    data[6:10] = b"\xff" * 4
    return bytes(data)


def tiff_of_itself() -> bytes:
    """A TIFF whose next picture is the picture."""
    data = bytearray(saved(Image.new("RGB", (8, 8)), "TIFF"))
    start = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[start : start + 2], "little")
    data[start + 2 + 12 * count : start + 6 + 12 * count] = start.to_bytes(4, "little")
    return bytes(data)


# --- embeddings ---


def card(text: bytes) -> bytes:
    """A picture card with a text that is no JSON of ours."""
    info = PngInfo()
    info.add_text("sd-ti-embedding", base64.b64encode(text).decode())
    return saved(Image.new("RGB", (64, 64), "green"), "PNG", pnginfo=info)


def card_of(**changes: Any) -> bytes:
    content = {"string_to_param": {"*": {"TORCHTENSOR": [[0.5] * 768]}}, "name": "cat", **changes}
    return card(json.dumps(content).encode())


def safetensors(header: bytes, body: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + body


def header_of(entries: int) -> bytes:
    tensor = b':{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    return b"{" + b",".join(b'"%d"' % n + tensor for n in range(entries)) + b"}"


def zipped(program: bytes) -> bytes:
    """A pickle where torch looks for it in a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x/data.pkl", program)
        archive.writestr("x/version", "3\n")
        archive.writestr("x/byteorder", "little")
    return buffer.getvalue()


def legacy(program: bytes) -> bytes:
    """The same as torch wrote it before 1.6."""
    parts = [pickle.dumps(part, protocol=2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    return b"".join([*parts, program, pickle.dumps([], protocol=2)])


def text(word: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(word)) + word


def encoding(word: bytes, codec: bytes) -> bytes:
    return b"\x80\x02c_codecs\nencode\n" + text(word) + text(codec) + b"\x86R."


def colliding_integers(count: int = 9_900) -> bytes:
    """A mapping whose keys have all the same hash, as integers modulo 2^61 - 1."""
    keys = (1 + n * (2**61 - 1) for n in range(count))
    return b"\x80\x02}(" + b"".join(b"\x8a\x0a" + key.to_bytes(10, "little") + b"N" for key in keys) + b"u."


def deep(count: int = 19_000) -> bytes:
    """Tuples in each other as the key of a mapping, whose hash is the hash of all."""
    return b"\x80\x02})" + b"\x85" * count + b"Ns."


def central_directory() -> bytes:
    """A zip archive of 64 MiB of which most lists members."""
    entry = b"PK\x01\x02" + bytes(24) + struct.pack("<HHH", 1, 0, 0) + bytes(12) + b"x"
    count = (64 * MIB - 100) // len(entry)
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, count * len(entry), 4, 0)
    return b"PK\x03\x04" + entry * count + end


Case = tuple[str, str, Callable[[Path], object], str]  # reader, name of the file, what writes it, part of the message

NO_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (pipe, "is not a file but a pipe"),
    "device": (link("/dev/zero"), "is not a file but a device"),
    "file of the system": (link("/proc/self/environ"), "has more bytes than its system says"),
    "terabyte": (hole(2**40), "bytes"),
    "gone": (link("gone"), "cannot be read: No such file"),
    "folder": (lambda path: path.mkdir(), "is not a file but a folder"),
}
# reader -> the name of a file that it reads
FILES = {
    "caption": "x.txt",
    "templates": "x.txt",
    "list of pictures": "x.jsonl",
    "config": "x.yaml",
    "picture": "x.png",
    "mask": "x.png",
    "embedding": "x.pt",
}
# what says something else: there are templates to choose from, and an embedding is told by its first bytes
ELSEWHERE = {("templates", "gone"), ("embedding", "terabyte"), ("embedding", "file of the system")}
MAPPINGS = b'{"a": ' * 50_000

CASES: dict[str, Case] = {
    **{
        f"{reader}: {name}": (reader, FILES[reader], write, message)
        for reader in FILES
        for name, (write, message) in NO_FILES.items()
        if (reader, name) not in ELSEWHERE
    },
    # captions, templates and names
    "caption of 140 kB": (
        "caption",
        "x.txt",
        holding("<|row|>" * 20_000),
        "has 140,000 bytes, and a caption has at most",
    ),
    "caption of halves of rows": ("caption", "x.txt", holding("<|ro" * 1_400 + "w|>" * 1_400), ""),
    "caption of 11,000 letters": (
        "caption",
        "x.txt",
        holding("a " * 5_500 + "a"),
        "has 11,001 letters, and at most 10",
    ),
    "caption of blanks": ("caption", "x.txt", holding(" " * 2**16), "is empty"),
    "100,000 templates": ("templates", "x.txt", holding("{token}\n" * 100_000), "has 100,000 templates; at most 1,000"),
    "long template": ("templates", "x.txt", holding("{token}" * 10_000), "has 70,000 letters, and at most 10,000"),
    "template without an end": ("templates", "x.txt", holding("a" * MIB), "does not say where the token goes"),
    "name of blanks": ("name", "x", holding("a" + " " * MIB + "b"), ""),
    "name of digits": ("name", "x", holding("(" + "1" * MIB), ""),
    "name of brackets": ("name", "x", holding("(1" * MIB), ""),
    # lists
    "million empty rows": ("list of pictures", "x.jsonl", holding("{}\n" * MIB), "values and brackets, and at most"),
    "million small lists": ("list of pictures", "x.jsonl", holding("[" + "[]," * MIB), "values and brackets, and at"),
    "100,001 rows": ("list of pictures", "x.jsonl", holding("{}\n" * 100_001), "has more than 100,000 rows"),
    "deep list": ("list of pictures", "x.jsonl", holding("[" * MIB), "line 1 is not JSON"),
    "deep mappings": ("list of pictures", "x.jsonl", holding(MAPPINGS), "line 1 is not JSON"),
    "list of one text": ("list of pictures", "x.jsonl", holding('"' + "a" * 31 * MIB), "line 1 is not JSON"),
    "list of escapes": ("list of pictures", "x.jsonl", holding('"' + "\\u1234" * 5 * MIB + '"'), "line 1 is not JSON"),
    "list of too many bytes": ("list of pictures", "x.jsonl", hole(33 * MIB, b"{"), "and a list has at most"),
    "key twice": ("list of concepts", "x.jsonl", holding('{"token": "<a>", "token": "<b>"}'), "has 'token' twice"),
    "4,300 digits": (
        "list of concepts",
        "x.jsonl",
        holding('{"token": ' + "9" * 4_300 + "}"),
        "a number of 4,300 digits",
    ),
    "csv of 200,000 columns": (
        "list of pictures",
        "x.csv",
        holding(lambda: ",".join(f"c{n}" for n in range(200_000)) + "\n" + "," * 199_999 + "\n"),
        "has no column of pictures",
    ),
    "csv of a vast cell": ("list of pictures", "x.csv", holding("a\n" + "b" * 200_000), "larger than field limit"),
    "csv of an open quote": ("list of pictures", "x.csv", holding('a\n"' + "\n" * MIB), "field"),
    "csv of many rows": ("list of pictures", "x.csv", holding("a\n" * 2 * MIB), "values and brackets, and at most"),
    # YAML, as a config and as a list of concepts
    "bomb of lists": ("config", "x.yaml", holding(bomb("[x]", "[{}]")), "values, aliases counted"),
    "bomb of merges": ("config", "x.yaml", holding(bomb("{x: 1}", "{{<<: [{}], y: 1}}")), "values, aliases counted"),
    "bomb of concepts": ("list of concepts", "x.yaml", holding(bomb("[x]", "[{}]")), "values, aliases counted"),
    "many aliases": ("config", "x.yaml", holding("- &a x\n" + "- *a\n" * 200_000), "values, aliases counted"),
    "many merges": (
        "config",
        "x.yaml",
        holding(
            lambda: (
                "a:\n"
                + "".join(f"- &a{n} {{k{n}: 1}}\n" for n in range(20_000))
                + f"b: {{<<: [{', '.join(f'*a{n}' for n in range(20_000))}]}}\n"
            )
        ),
        "values, aliases counted",
    ),
    "deep lists": ("config", "x.yaml", holding("[" * MIB), "is too deep"),
    "deep mappings of YAML": ("config", "x.yaml", holding("{a: " * 6_000), "is too deep"),
    "deep blocks": ("config", "x.yaml", holding("- " * MIB), "is too deep"),
    "deep keys": ("config", "x.yaml", holding("? " * MIB), "has a name that is no text"),
    "colliding keys": (
        "config",
        "x.yaml",
        holding(lambda: "".join(f"{1 + n * (2**61 - 1)}: 1\n" for n in range(50_000))),
        "has a name that is no text",
    ),
    "hexadecimal number": ("config", "x.yaml", holding("steps: 0x" + "f" * MIB), "a number of 1,048,578 digits"),
    "number to the base of sixty": ("config", "x.yaml", holding("steps: 1" + ":59" * 10_000), "a number of 30,001"),
    "long text": ("config", "x.yaml", holding("steps: " + "a" * MIB), "steps is 'aaaa"),
    "dates": ("config", "x.yaml", holding("steps: 2024-99-99"), "has a date"),
    "integer that is none": ("config", "x.yaml", holding("steps: !!int x"), "has 'x' as !!int"),
    "truth that is none": ("config", "x.yaml", holding("tune: !!bool x"), "has 'x' as !!bool"),
    "comment": ("config", "x.yaml", holding("#" * (2 * MIB)), "holds no settings"),
    "line breaks": ("config", "x.yaml", holding("a:" + "\n" * MIB), "is not a setting"),
    "quoted line breaks": ("config", "x.yaml", holding('a: "' + "\n" * MIB), "is not YAML"),
    "percent signs": ("config", "x.yaml", holding("%" * MIB), "is not YAML"),
    "anchors": ("config", "x.yaml", holding("&a " * 600_000), "is not YAML"),
    # pictures
    "177 megapixels": ("picture", "x.png", holding(png(13_300, 13_300, 8, 6)), "more than 120,000,000 pixels"),
    "177 megapixels of grey": ("picture", "x.png", holding(png(13_300, 13_300, 16, 0)), "more than 120,000,000 pixels"),
    "narrow": ("picture", "x.png", holding(png(24, 4_194_324)), "a side has at most 65,535 pixels"),
    "narrow, looked at": ("picture, looked at", "x.png", holding(png(24, 4_194_324)), "a side has at most 65,535"),
    "gigapixels": ("picture", "x.png", holding(png(60_000, 60_000, 1, 0)), "x.png is too large"),
    "gigapixels of GIF": ("picture", "x.gif", holding(gif_of_65535_pixels), "x.gif is too large"),
    "mask of 177 megapixels": ("mask", "x.png", holding(png(13_300, 13_300)), "more than 120,000,000 pixels"),
    "mask of 177 megapixels of grey": ("mask", "x.png", holding(png(13_300, 13_300, 16, 0)), "more than 120,000,000"),
    "bomb in a comment": (
        "picture",
        "x.png",
        holding(lambda: png(8, 8, more=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100 * MIB), 1)))),
        "x.png is damaged",
    ),
    "comment of megabytes": ("picture", "x.png", holding(lambda: png(8, 8, more=chunk(b"tEXt", b"a" * 50 * MIB))), ""),
    "hundred thousand scans": (
        "picture",
        "x.jpg",
        holding(jpeg_of_many_scans),
        "is in more pieces than a picture needs",
    ),
    "JPEG of fill bytes": ("picture", "x.jpg", holding(b"\xff\xd8\xff" + b"\xff" * 20 * MIB), "is in more pieces than"),
    "PNG of a million chunks": (
        "picture",
        "x.png",
        holding(lambda: png(8, 8, more=chunk(b"abCd", b"") * 1_000_000)),
        "is in more pieces than a picture needs",
    ),
    "JPEG of a million segments": (
        "picture",
        "x.jpg",
        holding(b"\xff\xd8" + b"\xff\xfe\x00\x02" * 1_000_000),
        "is in more pieces than a picture needs",
    ),
    "GIF of a million blocks": (
        "picture",
        "x.gif",
        holding(b"GIF89a" + bytes([8, 0, 8, 0, 0, 0, 0]) + b"!\xfe" + b"\x01a" * 1_000_000 + b"\0;"),
        "is in more pieces than a picture needs",
    ),
    "TIFF in a circle": ("picture", "x.tif", holding(tiff_of_itself), ""),
    "picture of 400 MiB": ("picture", "x.png", hole(400 * MIB, png(8, 8)[:40]), "x.png is"),
    # embeddings
    "punycode": ("embedding", "x.pt", holding(zipped(encoding(b"\xc3\xa4" * 80_000, b"punycode"))), "'punycode'"),
    "punycode, before 1.6": (
        "embedding",
        "x.pt",
        holding(legacy(encoding(b"\xc3\xa4" * 80_000, b"punycode"))),
        "codec",
    ),
    "idna": ("embedding", "x.pt", holding(zipped(encoding(b"a" * 80_000, b"idna"))), "asks for the codec 'idna'"),
    "colliding keys of a pickle": ("embedding", "x.pt", holding(zipped(colliding_integers())), "x.pt "),
    "deep key": ("embedding", "x.pt", holding(zipped(deep())), "x.pt "),
    "deep key, before 1.6": ("embedding", "x.pt", holding(legacy(deep())), "x.pt "),
    "deep lists of a pickle": (
        "embedding",
        "x.pt",
        holding(zipped(b"\x80\x02" + b"]" * 40_000)),
        "more than 20,000 ope",
    ),
    "64 MiB of members": (
        "embedding",
        "x.pt",
        holding(central_directory),
        "is a zip archive of more than 5,000 members",
    ),
    "140,000 tensors": (
        "embedding",
        "x.safetensors",
        holding(lambda: safetensors(header_of(140_000))),
        "has a header of",
    ),
    "50,000 tensors": ("embedding", "x.safetensors", holding(lambda: safetensors(header_of(50_000))), "50,001 tensors"),
    "7,000 tensors": ("embedding", "x.safetensors", holding(lambda: safetensors(header_of(7_000))), "is a model, not"),
    "two million dimensions": (
        "embedding",
        "x.safetensors",
        holding(
            lambda: safetensors(
                b'{"a":{"dtype":"F32","shape":[' + b",".join([b"1"] * 2_000_000) + b'],"data_offsets":[0,4]}}', bytes(4)
            )
        ),
        "x.safetensors: 'a' has 2000000 dimensions",
    ),
    "type of a megabyte": (
        "embedding",
        "x.safetensors",
        holding(lambda: safetensors(b'{"a":{"dtype":"' + b"F" * 2 * MIB + b'"}}')),
        "is no whole safetensors file",
    ),
    "metadata of half a million keys": (
        "embedding",
        "x.safetensors",
        holding(lambda: safetensors(b'{"__metadata__":{' + b",".join(b'"%d":""' % n for n in range(350_000)) + b"}}")),
        "x.safetensors ",
    ),
    "card of long integers": ("embedding", "x.png", holding(card(b'{"step": ' + b"9" * 4_000 + b"}")), "4,000 digits"),
    "card of integers that overflow": (
        "embedding",
        "x.png",
        holding(card(b'{"string_to_param": {"*": {"TORCHTENSOR": [' + b"9" * 19 + b"]}}}")),
        "",
    ),
    "card of deep lists": ("embedding", "x.png", holding(card(b"[" * 9_000)), "lie too deep in each other"),
    "card of lone surrogates": ("embedding", "x.png", holding(card_of(ti_trainer={"a": "\ud800", "\udfff": "b"})), ""),
    "card with a surrogate as its name": ("embedding", "x.png", holding(card_of(name="\ud800")), ""),
    "card of a checkpoint's surrogates": ("embedding", "x.png", holding(card_of(sd_checkpoint_name="\udc80")), ""),
}
