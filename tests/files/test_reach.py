"""What a list of concepts may read: the place where a path leads is judged, not its name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ti_trainer.errors import BadInput
from ti_trainer.files.addresses import public_client
from ti_trainer.files.reach import EVERYWHERE, Reach
from ti_trainer.files.wording import command_line


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder `open` with links, beside one that is not to be read."""
    for name in ("open/sub/a.png", "secret/b.png", "opened/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    links = {
        "out": "../secret",
        "out.png": "../secret/b.png",
        "absolute.png": tmp_path / "secret" / "b.png",
        "in.png": "sub/a.png",
        "sub/up": "..",
        "chain.png": "out.png",
        "loop": "loop",
    }
    for name, target in links.items():
        os.symlink(target, tmp_path / "open" / name)
    os.symlink("open", tmp_path / "alias")
    return tmp_path


INSIDE = ("", "sub/a.png", "in.png", "sub/up/sub/a.png", "sub/../sub/a.png", "sub/up/../open/sub/a.png", "not/there")
OUTSIDE = ("..", "../secret/b.png", "out", "out/b.png", "out.png", "absolute.png", "chain.png", "sub/up/out.png")


def test_paths(tree: Path) -> None:
    for root in ("open", "alias", "open/sub/.."):
        reach = Reach.within([tree / root])
        for name in INSIDE:
            place = reach.resolve(tree / "open" / name)
            assert str(place) == os.path.realpath(tree / "open" / name)
            assert place.is_relative_to(tree / "open")
        for path in (*(tree / "open" / name for name in OUTSIDE), Path("/etc/passwd"), tree / "opened/c.png", "", "x"):
            with pytest.raises(BadInput, match="leads out of the folders that a list of concepts may read"):
                reach.resolve(path)
            assert EVERYWHERE.resolve(path) == Path(path)


def test_a_file_and_another_folder(tree: Path) -> None:
    reach = Reach.within([tree / "open"]).including(tree / "secret" / "b.png")
    assert reach.resolve(tree / "open" / "chain.png") == tree / "secret" / "b.png"
    with pytest.raises(BadInput):
        reach.resolve(tree / "secret" / "c.png")
    assert EVERYWHERE.including("x") == EVERYWHERE
    assert not EVERYWHERE.is_limited
    assert Reach.within([]).is_limited


def test_a_refusal_names_the_cure_and_not_where_a_link_leads(tree: Path) -> None:
    with command_line(), pytest.raises(BadInput) as refusal:
        Reach.within([tree / "open"]).resolve(tree / "open" / "chain.png")
    assert str(refusal.value) == (
        f"{tree}/open/chain.png leads out of the folders that a list of concepts may read; add --trusted_roots DIR "
        "with a folder around it, or put the concept under 'concepts:' in a config of your own"
    )


def test_buckets_are_opened_by_what_a_url_begins_with() -> None:
    reach = Reach.within(["memory://bucket/orders/", "memory://other"])
    for url in ("memory://bucket/orders", "memory://bucket/orders/1/a.png", "memory://other/x"):
        assert reach.open_url(url, "images")[1] == url.removeprefix("memory:/")
    for url in (
        "memory://bucket",
        "memory://bucket/orders2/a.png",
        "memory://bucket/orders/../x",
        "s3://other/x",
        "hf://datasets/owner/name",
    ):
        with pytest.raises(BadInput, match=r"is in no bucket .* add trusted_roots=\"URL\""):
            reach.open_url(url, "images")
    with pytest.raises(BadInput, match="leads through '::'"):
        reach.open_url("reference::memory://other/x", "images")
    with pytest.raises(BadInput, match="http:// is not opened"):
        reach.open_url("http://other/x", "images")


INTERNAL = (
    "127.0.0.1",
    "localhost",
    "10.0.0.1",
    "169.254.169.254",
    "0.0.0.0",
    "2130706433",
)


@pytest.mark.parametrize("host", INTERNAL)
def test_servers_inside_are_not_asked(host: str) -> None:
    """2130706433 is 127.0.0.1 to a resolver."""
    reach = Reach.within([])
    for url in (f"https://{host}/a.jsonl", f"https://{host}:8000/a.jsonl", f"HTTPS://{host.upper()}/a.jsonl"):
        with pytest.raises(BadInput, match="may ask public servers only; add trusted_hosts="):
            reach.options_for(url, "images")
        assert Reach.within([], [host]).options_for(url, "images") == {}


def test_public_servers_are_asked_through_a_client_that_watches() -> None:
    assert Reach.within([], ["10.0.0.1"]).options_for("https://93.184.216.34/a", "images") == {
        "get_client": public_client
    }


@pytest.mark.parametrize(
    "url",
    ["https://10.0.0.1\\@x.org/a", "https://me@x.org/a", "https://a b/", "https://", "https://[x/", "https://x.org\n"],
)
def test_urls_that_two_programs_read_in_two_ways(url: str) -> None:
    with pytest.raises(BadInput, match="is no plain URL; write https://SERVER/FOLDER/FILE"):
        Reach.within([], ["10.0.0.1", "x.org"]).open_url(url, "images")
