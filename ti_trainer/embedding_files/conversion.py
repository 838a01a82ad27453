"""Converting an embedding file from any format that can be read to any that can be written."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..errors import BadInput
from ..files.atomic import write_bytes
from ..files.wording import flag
from . import FORMATS, Embedding, read_embedding
from .formats import pack_card_on
from .metadata import prompt_for
from .readers import where_it_goes
from .tokens import check_stem
from .write import files_of

CARD = "png-card"


@dataclass(frozen=True)
class Conversion:
    """What was written, and lines for the user about it."""

    embedding: Embedding
    files: list[Path]
    notes: list[str]


def convert(
    file: str,
    to: str,
    output: str | None = None,
    token: str | None = None,
    picture: Image.Image | None = None,
    overwrite: bool = False,
) -> Conversion:
    """Write the embedding of a file in another format, `to`, a key of FORMATS.

    output: a file or a folder, by default the folder of `file`; token: a new name, or which embedding of several to
    take; picture: for a card. Raises BadInput when the embedding cannot be read or written, and without `overwrite`
    when a file is in the way.
    """
    return write_as(read_embedding(file, token), to, Path(file).parent, output, picture, overwrite)


def write_as(
    embedding: Embedding,
    to: str,
    folder: Path,
    output: str | None = None,
    picture: Image.Image | None = None,
    overwrite: bool = False,
) -> Conversion:
    """Write an embedding in a format; folder: where it goes without an `output`, the rest as in `convert`."""
    known = [name for name, row in FORMATS.items() if row.pack]
    if to not in known:
        choices = "\n".join(f"  {name:11} {FORMATS[name].about}" for name in known)
        raise BadInput(f"{flag('to')} is '{to}'; choose one of\n{choices}")
    if picture and to != CARD:
        raise BadInput(f"{flag('picture')} is drawn on by {flag('to', CARD)}; leave it out for {flag('to', to)}")
    path = place(embedding, folder, FORMATS[to].suffix, output)
    files = {path: pack_card_on(embedding, picture)} if picture else files_of(embedding, path, to)
    check_free(files, overwrite)
    for each, payload in files.items():
        write_bytes(payload, each)
    usage = FORMATS[to].usage.format(stem=path.stem, token=embedding.token, prompt=prompt_for(embedding.is_negative))
    places = where_it_goes(embedding.widths, embedding.architecture, path.stem, embedding.is_negative)
    advice = usage or "; ".join(f"{program}: {what}" for program, what in places)
    return Conversion(embedding, list(files), [advice, *warnings_about(embedding, path, files)])


def place(embedding: Embedding, folder: Path, suffix: str, output: str | None) -> Path:
    """The file to write: `output`, or a file named after the token; raises BadInput for a name that is unusable."""
    path = folder if output is None else Path(output)
    if output is None or path.is_dir():
        return path / f"{embedding.stem}{suffix}"
    if path.suffix != suffix:
        raise BadInput(f"{flag('output')} is {output}, and programs want this format to end in {suffix}")
    check_stem(path.stem)
    return path


def check_free(files: Iterable[Path], overwrite: bool) -> None:
    """Raises BadInput where one of the files is there and may not be written over."""
    there = [str(each) for each in files if each.exists()]
    if there and not overwrite:
        raise BadInput(f"{', '.join(there)} exists: choose another {flag('output')}, or add {flag('overwrite', True)}")


def warnings_about(embedding: Embedding, path: Path, own: Container[Path]) -> list[str]:
    """Lines about a second embedding for the negative prompt, and about files that look like further vectors.

    own: the files that were written, which are one embedding.
    """
    lines = []
    negative = embedding.metadata.get("ti_trainer.negative")
    if negative:
        lines.append(f"{negative} lies beside it and is its negative half: convert it too, for the negative prompt")
    numbered = [f"{path.stem}{between}{number}{path.suffix}" for between in ("", "_") for number in (1, 2, 3)]
    near = [name for name in numbered if path.with_name(name) not in own and path.with_name(name).is_file()]
    if near and embedding.num_vectors > 1:
        lines.append(f"{', '.join(near)} has a name that diffusers gives to further vectors: load only one of them")
    return lines


def conversion_text(done: Conversion) -> str:
    """What the command prints."""
    families = " or ".join(done.embedding.families) or "a model of another kind"
    lines = [f"{done.embedding.token} ({done.embedding.num_vectors} vectors, for {families})"]
    return "\n".join([*lines, *(f"  wrote {path}" for path in done.files), *(f"  {note}" for note in done.notes)])
