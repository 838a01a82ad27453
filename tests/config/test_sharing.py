"""What an embedding file is to say of itself."""

from __future__ import annotations

import pytest

from ti_trainer.config.sharing import SharingConfig, check_date
from ti_trainer.errors import BadInput


@pytest.mark.parametrize("text", ["2026-11-30", "2028-02-29", "today"])
def test_days(text: str) -> None:
    check_date(text)
    assert SharingConfig(date=text).date == text


@pytest.mark.parametrize("text", ["2026-02-29", "20261130", "30.11.2026", "2026-11-30T10:00", "", "yesterday"])
def test_what_is_no_day(text: str) -> None:
    with pytest.raises(BadInput, match=f"date is '{text}', which is no day; write it as 2026-11-30, or today"):
        SharingConfig(date=text)


def test_nothing_is_told_by_itself() -> None:
    assert set(vars(SharingConfig()).values()) == {None, (), False}
