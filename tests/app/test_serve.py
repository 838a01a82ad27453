"""Who may look at the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from ti_trainer import BadInput
from ti_trainer.app.serve import read_login, serve


def test_other_machines_need_a_login(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "192.168.1.5", "::", "example.org"):
        with pytest.raises(BadInput, match=r"host.* lets other machines in: add .*auth"):
            serve(None, str(tmp_path), [], host, 0, None)
    assert list(tmp_path.iterdir()) == []


def test_logins(tmp_path: Path) -> None:
    assert read_login(None) is None
    assert read_login("me:a long:one") == ("me", "a long:one")
    (tmp_path / "login").write_text("me:from a file\n")
    assert read_login(f"@{tmp_path}/login") == ("me", "from a file")
    for bad in ("me", ":password", "me:short", ""):
        with pytest.raises(BadInput, match="wants NAME:PASSWORD"):
            read_login(bad)
    with pytest.raises(BadInput, match="cannot be read"):
        read_login(f"@{tmp_path}/nowhere")
