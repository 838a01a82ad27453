from __future__ import annotations

import pytest

from ti_trainer.files.folder_names import folded, name_problem

FULL_WIDTH_CON = "\uff43\uff4f\uff4e"
FULL_WIDTH_MANIFEST = "\uff4danifest"
LONG_S, ST = "manife\u017ft", "manife\ufb06"


@pytest.mark.parametrize("name", ["my-cat", "-x", "_", "7", "my.cat", "Kätzchen", "猫", "console", "x" * 200])
def test_good_names(name: str) -> None:
    assert name_problem(name) is None


@pytest.mark.parametrize(
    ("reason", "names"),
    [
        ("cannot be the name", ["", ".", "..", ".x", "a/b", "a\\b", "a\n", "a b", "a:b", "\0", "\ud800"]),
        ("for a device", ["con", "NUL", "aux.txt", "com1", "LPT9.a.b", "com¹", FULL_WIDTH_CON]),
        ("ends with a dot", ["a.", "manifest.", "a.."]),
        ("lists what is done", ["manifest", "Manifest", "MANIFEST", FULL_WIDTH_MANIFEST, LONG_S, ST]),
        ("200 is the most", ["x" * 201, "猫" * 85]),
    ],
)
def test_names_that_are_refused(reason: str, names: list[str]) -> None:
    for name in names:
        assert reason in str(name_problem(name)), name


def test_names_that_some_disks_take_for_one() -> None:
    assert folded("Cafe\u0301") == folded("CAFÉ") == "café"
    assert folded("cat") != folded("cät")
