"""What is known of concepts before their pictures are read, and what is on record of those that fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.running import MakeConfig, MakeTwo
from ti_trainer import Concept, TrainConfig, train_all
from ti_trainer.config.config import Origin
from ti_trainer.config.rows import Refusal
from ti_trainer.config.settings import config_to_mapping
from ti_trainer.errors import BadInput, Incomplete, Recorded
from ti_trainer.runs.storage import Storage
from ti_trainer.training.lookup import look_up, record_refusals


@pytest.fixture
def bad(make_config: MakeConfig, tmp_path: Path) -> TrainConfig:
    """Its pictures are missing."""
    config = make_config(steps=2, validate_every=0)
    concept = Concept("<bad>", str(tmp_path / "later"), init="cat")
    return replace(config, concept=concept, origin=Origin(None, {"order": 7}))


def attempt(*configs: TrainConfig) -> str:
    with pytest.raises(Incomplete) as problem:
        train_all(configs)
    return str(problem.value)


def test_what_failed_is_on_record_and_is_repeated_only_when_asked(
    make_config: MakeConfig, bad: TrainConfig, pictures: Path, tmp_path: Path
) -> None:
    cat = make_config(steps=2, validate_every=0)
    attempt(cat, bad)
    storage = Storage(cat.output)
    entry = storage.manifest().failed["bad"]
    assert (entry["status"], entry["code"], entry["columns"]) == ("failed", "bad_input", {"order": 7})
    assert "does not exist" in entry["reason"]
    assert storage.entry("bad") is None
    (tmp_path / "later").symlink_to(pictures)

    again = [replace(config, resume=True) for config in (cat, bad)]
    said = attempt(*again)
    assert "does not exist; give a folder of pictures (it failed before, and retry_failed=True tries it again)" in said
    assert storage.manifest().failed["bad"] == entry
    train_all([replace(config, retry_failed=True) for config in again])
    assert list(storage.manifest().published) == ["bad", "my-cat"]
    assert storage.manifest().published["bad"]["columns"] == {"order": 7}
    assert storage.manifest().published["bad"]["status"] == "finished"


@pytest.mark.parametrize(
    "change", [{"resume": False}, {"retry_failed": True}, {"steps": 3}, {"concept": {"init": "dog"}}, {"lr": 0.5}]
)
def test_who_asks_anew_is_tried_again(
    make_config: MakeConfig, bad: TrainConfig, pictures: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    attempt(bad, make_config(steps=1, token="<my-dog>", images=str(tmp_path / "none")))
    (tmp_path / "later").symlink_to(pictures)
    concept = replace(bad.concept, **change.pop("concept", {}))  # type: ignore[arg-type]
    found = look_up([replace(bad, **{"resume": True, "concept": concept, **change})])  # type: ignore[arg-type]
    assert [config.run_name for config in found.ready] == ["bad"]
    ((name, problem),) = look_up([replace(bad, resume=True)]).failures.items()
    assert (name, type(problem)) == ("bad", Recorded)


def test_what_was_not_its_own_fault_is_tried_again(make_config: MakeConfig) -> None:
    config = make_config(resume=True)
    for code, ready in (("unavailable", 1), ("bug", 0), ("diverged", 0), ("refused", 0)):
        entry = {"code": code, "reason": "why", "config": config_to_mapping(config)}
        Storage(config.output).record_failure("my-cat", entry)
        assert len(look_up([config]).ready) == ready, code


def test_a_failure_hides_nothing_that_was_published(make_two: MakeTwo) -> None:
    cat, _ = make_two()
    storage = Storage(cat.output)
    storage.publish("my-cat", {}, {"status": "finished"})
    storage.record_failure("my-cat", {"code": "bad_input"})
    assert storage.entry("my-cat") == {"status": "finished"}
    storage.record_failure("my-dog", {"code": "bad_input"})
    storage.record_failure("my-dog", {"code": "bug"})
    assert storage.manifest().failed == {"my-dog": {"code": "bug", "status": "failed"}}
    storage.publish("my-dog", {}, {"status": "finished"})
    assert storage.manifest().failed == {}


@pytest.mark.parametrize("few", [0, 5])
def test_a_row_that_is_mended_is_no_failure_any_more(make_config: MakeConfig, few: int) -> None:
    config = replace(make_config(), origin=Origin("a.jsonl,2", {"order": 7}))
    refused = [Refusal(f"a.jsonl, line {line}", BadInput("bad"), f"a.jsonl,{line}", config.output) for line in (2, 3)]
    record_refusals(refused, look_up([], refused))
    storage = Storage(config.output)
    assert list(storage.manifest().failed) == ["a.jsonl,2", "a.jsonl,3"]
    found = look_up([config], refused[1:], few=few)
    record_refusals(refused[1:], found)
    assert list(storage.manifest().failed) == ["a.jsonl,3"]
    assert [each.origin.columns for each in found.ready] == [{"order": 7}]


def test_names_that_cannot_be_on_record(make_config: MakeConfig) -> None:
    storage = Storage(make_config().output)
    for name in ("../x", "a,b", "", ".hidden,1"):
        with pytest.raises(BadInput, match="cannot be the name of a line in the manifest"):
            storage.record_failure(name, {})
