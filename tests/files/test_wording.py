from pathlib import Path

import pytest

from ti_trainer.files.wording import MOST_LINES, MOST_NAMES, listing, printable, shorten


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("my cat.png", "my cat.png"),
        ("Kätzchen 猫.png", "Kätzchen 猫.png"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[2J", r"\x1b[2J"),  # would clear the terminal
        ("a\u202eb", r"a\u202eb"),  # would turn the rest around
        ("bad\udcff", r"bad\udcff"),  # a byte that is no UTF-8, as Python has it in names of files
    ],
)
def test_names_are_on_one_line(name: str, shown: str) -> None:
    assert printable(name) == shown
    assert printable(Path(name)) == shown
    shown.encode()  # can be written anywhere


def test_listing() -> None:
    names = [f"{number}.png" for number in range(2000)]
    assert listing(names[:1]) == "0.png"
    assert listing(names[:MOST_NAMES]) == "0.png, 1.png, 2.png, 3.png, 4.png"
    assert listing(names[: MOST_NAMES + 1]) == "0.png, 1.png, 2.png, 3.png, 4.png and 1 more"
    assert listing(names).endswith("4.png and 1995 more")
    assert listing([]) == ""


def test_shorten() -> None:
    lines = [f"line {number}" for number in range(13)]
    assert shorten(lines[:MOST_LINES]) == lines[:10]
    assert shorten(lines) == [*lines[:10], "... and 3 more like this; ti-trainer dataset lists all"]
