"""Write an embedding file in another format."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import BadInput
from ..files.wording import flag
from .flags import Parser

USAGE = "FILE --to FORMAT [--output PATH]"
EXAMPLE = "ti-trainer convert my-dog.pt --to webui"


def add_flags(parser: Parser) -> None:
    parser.add("file", metavar="FILE", help="embedding file, of any format that we read")
    parser.add(
        "--to", required=True, metavar="FORMAT", help="webui, diffusers, kohya, onetrainer, a1111-pt or png-card"
    )
    parser.add("--output", metavar="PATH", help="file or folder (default: the file's folder, named after the token)")
    parser.add("--token", help="a new name; or which embedding, where the file holds several")
    parser.add("--picture", metavar="FILE", help="what to draw a png-card on (default: the numbers of the embedding)")
    parser.add("--overwrite", action="store_true", help="write over files that are there")


def run(options: argparse.Namespace) -> None:
    from ..data.images import Picture, read_image
    from ..embedding_files.conversion import conversion_text, convert

    if options.picture and not Path(options.picture).is_file():
        raise BadInput(f"{flag('picture', options.picture)} is not a file")
    values = vars(options)
    if options.picture:
        values["picture"] = read_image(Picture.at(Path(options.picture)))
    print(conversion_text(convert(**values)))
