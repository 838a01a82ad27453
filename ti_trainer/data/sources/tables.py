"""Pictures in parquet files, arrow files, saved datasets and datasets of the hub, read by the library `datasets`.

It is imported when the first table is read, because its import takes long.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import BadInput
from ...files.reach import EVERYWHERE, Reach
from ...files.reading import PICTURE, open_regular, read
from ...files.wording import flag, listing, printable
from ..images import Picture
from .lists import CAPTION_COLUMNS, IMAGE_COLUMNS, Columns, caption_texts, choose_column

if TYPE_CHECKING:
    from datasets import Dataset

TABLE_SUFFIXES = (".parquet", ".arrow")
LONGEST_NAME = 1_000  # letters of the name of a file that a table says; words of it may become a caption


@dataclass(frozen=True)
class TablePicture:
    """A row of a table."""

    picture: Picture
    name: str  # of the file that the picture was made from, or else the number of the row
    captions: tuple[str, ...]


def is_saved_dataset(folder: Path) -> bool:
    """Whether the folder was written by `save_to_disk` of `datasets`."""
    return (folder / "dataset_dict.json").is_file() or (folder / "dataset_info.json").is_file()


def read_table(images: str, columns: Columns, source: str, reach: Reach = EVERYWHERE) -> list[TablePicture]:
    """The rows of a table; a picture is loaded only when it is read.

    source: the table's name in messages; reach: what may be read. Raises BadInput when the table cannot be read, and
    for columns that are missing.
    """
    import datasets

    with quietly():
        try:
            table = one_split(load_table(images, reach), source)
        except BadInput:
            raise
        except Exception as error:  # the library has many readers, and passes on what they raise
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise BadInput(f"{source} cannot be read as a dataset: {reason}") from None
        pictured = [name for name, feature in table.features.items() if isinstance(feature, datasets.Image)]
        image = choose_column("image", columns.image, [*pictured, *IMAGE_COLUMNS], table.column_names, source)
        caption = choose_column("caption", columns.caption, CAPTION_COLUMNS, table.column_names, source)
        if image is None:
            names = listing(list(map(printable, table.column_names)))
            raise BadInput(f"{source} has no column of pictures but {names}; add {flag('image_column')}")
        try:
            cells = table.select_columns([image]).cast_column(image, datasets.Image(decode=False))
            chunks = cells.with_format("arrow")[:][image].chunks
            paths = [path for chunk in chunks for path in chunk.field("path").to_pylist()]
        except Exception as error:  # pyarrow raises many kinds
            raise BadInput(f"{flag('image_column', image)} of {source} holds no pictures: {error}") from None
    # arrow: a column that claims to be pictures would be opened, wherever they lie
    texts = table.with_format("arrow")[:][caption].to_pylist() if caption else [None] * len(table)
    rows = []
    for number, (path, text) in enumerate(zip(paths, texts, strict=True)):
        where = f"{printable(images)}, row {number}"
        name = path if path and len(path) <= LONGEST_NAME else ""
        shown = f"{where} ({printable(name)})" if name else where
        picture = Picture(shown, reader(cells, number, image, images, reach))
        rows.append(TablePicture(picture, name or str(number), caption_texts(text, where)))
    return rows


def holds_tables(folder: Path) -> bool:
    """Whether there are parquet or arrow files in the folder."""
    return any(file.suffix.lower() in TABLE_SUFFIXES for file in folder.iterdir())


def load_table(images: str, reach: Reach) -> Any:
    """A dataset, or a mapping of its parts, from a file, a folder or the hub; raises what the library raises."""
    import datasets

    path = reach.resolve(images)
    if not path.exists():
        return datasets.load_dataset(images)
    saved = path.is_dir() and is_saved_dataset(path)
    if saved and reach.is_limited:  # it names further files
        raise BadInput(f"{printable(images)} is a saved dataset, which a list may not name; save it as parquet")
    files = sorted(path.rglob("*") if saved else path.iterdir()) if path.is_dir() else [path]
    files = [reach.resolve(file) for file in files if file.suffix.lower() in (*TABLE_SUFFIXES, ".json")]
    for file in files:
        open_regular(file).close()  # the library would wait for a pipe
    if saved:
        return datasets.load_from_disk(images)
    parquet = [plain_name(file) for file in files if file.suffix.lower() == ".parquet"]
    if parquet:
        return datasets.load_dataset("parquet", data_files=parquet, split="train")
    arrow = [plain_name(file) for file in files if file.suffix.lower() == ".arrow"]
    return datasets.concatenate_datasets([datasets.Dataset.from_file(file) for file in arrow])


def plain_name(file: Path) -> str:
    """The absolute path of a file; raises BadInput for one that `datasets` takes for a pattern or for several files."""
    name = os.path.abspath(file)
    if "::" in name or set(name) & set("*?["):
        raise BadInput(f"{printable(name)} has '::', '*', '?' or '[' in its name; rename it")
    return name


def one_split(table: Any, source: str) -> Dataset:
    """The part of a dataset that is called "train", or its only part; raises BadInput if there is neither."""
    if not isinstance(table, dict):
        return table
    if "train" in table:
        return table["train"]
    if len(table) != 1:
        raise BadInput(f"{source} has the parts {', '.join(table)} and none called train; save the one you want")
    return next(iter(table.values()))


def reader(cells: Dataset, number: int, column: str, images: str, reach: Reach) -> Callable[[], bytes]:
    """A function that reads the picture of a row: the bytes in its cell, or the file that the cell names."""

    def content() -> bytes:
        cell = cells[number][column]
        if cell is None:
            raise BadInput(f"{printable(images)}, row {number} has no picture")
        if cell["bytes"] is not None:
            return cell["bytes"]
        here = Path(images)
        return read(reach.resolve((here if here.is_dir() else here.parent) / cell["path"]), PICTURE)

    return content


@contextmanager
def quietly() -> Iterator[None]:
    """Hide the progress bars of `datasets` inside the block."""
    import datasets

    were_hidden = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not were_hidden:
            datasets.enable_progress_bars()
