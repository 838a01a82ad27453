"""Make one embedding of several: a mean between them, or all their rows."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import BadInput
from ..files.names import check_token
from ..files.wording import flag
from .flags import Parser

USAGE = "FILE FILE ... [--weights FLOAT FLOAT ... | --join]"
EXAMPLE = 'ti-trainer merge my-cat.safetensors my-dog.safetensors --weights .7 .3 --token "<my-catdog>"'


def add_flags(parser: Parser) -> None:
    parser.add(
        "files",
        metavar="FILE",
        nargs="+",
        help="embedding files of one model family; FILE:TOKEN takes that token out of a file that holds several",
    )
    parser.add(
        "--weights",
        metavar="FLOAT",
        type=float,
        nargs="+",
        help="how much each counts in the mean (default: all the same); directions are mixed on the sphere, lengths "
        "along a line",
    )
    parser.add("--join", action="store_true", help="put all rows one after the other, in place of a mean row by row")
    parser.add("--token", metavar='"<NAME>"', help="the new word (default: the old ones with '-' between them)")
    parser.add("--to", default="webui", metavar="FORMAT", help="what `convert --to` takes (default: %(default)s)")
    parser.add("--output", metavar="PATH", help="file or folder (default: the present folder, named after the token)")
    parser.add("--overwrite", action="store_true", help="write over files that are there")


def run(options: argparse.Namespace) -> None:
    from ..embedding_files import read_embedding
    from ..embedding_files.conversion import conversion_text, write_as
    from ..method.merging import blend, join

    if len(options.files) < 2:
        raise BadInput(f"{options.files[0]} alone cannot be merged: name two files or more")
    if options.join and options.weights:
        raise BadInput(f"{flag('join', True)} keeps all rows as they are: leave out {flag('weights')}")
    embeddings = [read_embedding(*file_and_token(text)) for text in options.files]
    token = options.token or f"<{'-'.join(each.stem for each in embeddings)}>"
    check_token(token)
    merged = join(embeddings, token) if options.join else blend(embeddings, options.weights, token)
    print(conversion_text(write_as(merged, options.to, Path(), options.output, overwrite=options.overwrite)))


def file_and_token(text: str) -> tuple[str, str | None]:
    """ "bundle.pt:<a>" -> the file and the token in it; of a name without a token, and of files called so, None."""
    file, colon, token = text.rpartition(":")
    if not colon or Path(text).is_file() or not Path(file).is_file():
        return text, None
    return file, token
