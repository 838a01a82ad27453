"""Where each crop lands along one side, by brute force and by counting."""

from __future__ import annotations

import numpy as np
import pytest

from ti_trainer.errors import BadInput
from ti_trainer.method.crops import CROPS, Span, anywhere, around_subject, at_centre, check_crop

DRAWS = np.linspace(0, 1, 1001)[:-1].tolist()  # as a generator gives them: 0 and never 1
CASES = [
    (200, 64, None),
    (200.0, 64.0, (120.0, 160.0)),
    (100.5, 33.4, (0.0, 20.0)),
    (64, 64, (10, 30)),
    (50, 49.5, None),
]


@pytest.mark.parametrize("name", CROPS)
@pytest.mark.parametrize(("side", "window", "subject"), CASES)
def test_no_crop_leaves_the_picture(name: str, side: float, window: float, subject: Span | None) -> None:
    starts = [CROPS[name](side, window, subject, draw) for draw in DRAWS]
    assert min(starts) >= 0
    assert max(starts) <= side - window


def test_centre() -> None:
    assert [at_centre(side, 64, (0, 10), 0.9) for side in (64, 100, 201)] == [0, 18, 68.5]


def test_anywhere_without_a_subject_is_uniform() -> None:
    """Whole pixels from 0 to 10: each inner one has a tenth of the draws, the two at the ends half of that."""
    starts = [anywhere(42, 32, None, draw) for draw in DRAWS]
    assert np.unique(starts).tolist() == list(range(11))
    counts = [starts.count(start) for start in range(11)]
    assert counts == pytest.approx([50, *[100] * 9, 50], abs=1)
    assert starts == sorted(starts)


@pytest.mark.parametrize(
    ("subject", "least", "most"),
    [
        ((0, 20), 0, 10),  # at the left edge: windows that start behind its middle would lose it
        ((0, 2), 0, 1),
        ((180, 200), 126, 136),  # at the right edge
        ((120, 160), 76, 136),
        ((90, 110), 36, 100),  # in the middle
        ((0, 200), 36, 100),  # the whole picture
    ],
)
def test_anywhere_holds_the_middle_of_the_subject(subject: Span, least: int, most: int) -> None:
    """Every start from `least` to `most` shows the middle, and every one of them is drawn."""
    middle = sum(subject) / 2
    showing = [start for start in range(200 - 64 + 1) if start <= middle <= start + 64]
    assert (showing[0], showing[-1]) == (least, most)
    starts = {anywhere(200, 64, subject, draw) for draw in DRAWS}
    assert sorted(starts) == showing


@pytest.mark.parametrize("subject", [(0, 20), (190, 200), (90, 110), (40, 160), (3, 150), None])
def test_around_the_subject_by_brute_force(subject: Span | None) -> None:
    """Of all starts in halves of a pixel the one whose middle is nearest to the subject's."""
    middle = sum(subject) / 2 if subject else 100
    starts = [half / 2 for half in range(2 * (200 - 64) + 1)]
    best = min(starts, key=lambda start: abs(start + 32 - middle))
    assert around_subject(200, 64, subject, 0.7) == best


def test_unknown_crop() -> None:
    with pytest.raises(BadInput, match="'center'; choose one of centre, random, subject"):
        check_crop("center")
