"""From a folder of pictures to words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
import torch

from tests.learning import prepare_all
from tests.running import exported
from ti_trainer import BadInput, Concept, TrainConfig, train, train_all
from ti_trainer.config.bundled import TINY_CLIP
from ti_trainer.config.settings import read_yaml
from ti_trainer.families import load_family
from ti_trainer.method.phrases import Phrase
from ti_trainer.method.racing import DECISIVE, ROUNDS
from ti_trainer.method.suggest import Step
from ti_trainer.training import suggestion
from ti_trainer.training.suggestion import find_words, read_words, suggest
from ti_trainer.training.word_losses import WordLosses


@pytest.fixture
def few(tmp_path: Path) -> str:
    file = tmp_path / "words.txt"
    file.write_text("cat\n\nfish\n house \norange\ncat\n", encoding="utf-8")
    return str(file)


def test_the_bundled_cat_is_found(few: str) -> None:
    """With passes for one word only: each of the three names gets 40 draws; its colour comes next."""
    found = suggest(TrainConfig(Concept("<words>")), few, 120)
    assert found.phrase.text == "cat"
    assert (found.passes, found.pictures, found.words, found.stop) == (120, 5, 4, None)
    assert [reading.draws for reading in found.steps[0].ranking] == [ROUNDS[-1]] * 3
    assert found.steps[0].ranking[0].loss < found.steps[0].ranking[1].loss


def test_the_words_of_a_model_are_tried_by_default(make_config: Callable[..., TrainConfig]) -> None:
    """The tiny model knows five words that say something; the same seed gives the same, another seed other losses."""
    config = make_config()
    found = suggest(config, None, 500)
    assert found.words == 5
    again = suggest(config, None, 500)
    assert again.steps == found.steps
    assert suggest(replace(config, seed=1), None, 500).steps[0].ranking != found.steps[0].ranking


def test_losses_are_those_of_the_pictures(make_config: Callable[..., TrainConfig], few: str) -> None:
    """What is reported of the first word is the mean of WordLosses over the first view of each picture."""
    config = make_config(seed=3)
    (session,) = prepare_all([config])
    losses = WordLosses(session.family, [view for (view,) in session.data.views], seed=3)
    best = suggest(config, few, 300).steps[0].ranking[0]
    wanted = losses([best.phrase.text], range(best.draws)).mean().item()
    assert best.loss == pytest.approx(wanted, rel=1e-5)


def test_class_pictures_are_not_described(
    make_config: Callable[..., TrainConfig], other_pictures: Path, few: str
) -> None:
    config = make_config()
    with_class = replace(config, concept=replace(config.concept, class_images=str(other_pictures)))
    assert suggest(with_class, few, 300).steps == suggest(config, few, 300).steps


def test_a_search_that_is_stopped_keeps_what_it_found(
    make_config: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C after the first word; one before it is handed on."""
    (session,) = prepare_all([make_config()])
    views = [view for (view,) in session.data.views]
    words = ["cat", "dog", "red", "snow", "beach"]
    whole = find_words(session.family, views, words, ["in the snow"], 100_000, seed=0)
    first = whole.steps[0].passes

    class Stopped(WordLosses):
        most = first

        def __call__(self, texts: list[str], draws: range) -> torch.Tensor:  # type: ignore[override]
            Stopped.most -= len(texts) * len(draws)
            if Stopped.most < 0:
                raise KeyboardInterrupt
            return super().__call__(texts, draws)

    monkeypatch.setattr(suggestion, "WordLosses", Stopped)
    found = find_words(session.family, views, words, ["in the snow"], 100_000, seed=0)
    assert found.stop
    assert found.steps == whole.steps[:1]
    Stopped.most = first - 1
    with pytest.raises(KeyboardInterrupt):
        find_words(session.family, views, words, [], 100_000, seed=0)


@pytest.mark.parametrize("rows", [1, 2, None])
def test_rows_start_from_as_many_words_as_there_are_rows(
    make_config: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch, rows: int | None
) -> None:
    """Of "red snow cat" that whose loss is least of all with so many words."""
    config = make_config(init="auto", num_vectors=rows)
    (session,) = prepare_all([make_config()])
    losses = WordLosses(session.family, [view for (view,) in session.data.views], config.seed)
    phrase = Phrase(("red", "snow", "cat"))
    found = suggestion.Suggestion((Step("thing", (), phrase, 1),), 4, 5, 1.0)
    monkeypatch.setattr(suggestion, "find_words", lambda *arguments: found)
    wanted = phrase
    if rows is not None:
        pairs = [Phrase(two) for two in combinations(phrase.words, 2)]
        means = losses([pair.text for pair in pairs], range(DECISIVE[-1])).mean(1)
        wanted = pairs[int(means.argmin())]
    if rows == 1:
        means = losses(list(reversed(wanted.words)), range(DECISIVE[-1])).mean(1)
        wanted = Phrase((wanted.words[1 - int(means.argmin())],))
    assert suggestion.find_init(config, lambda: session.family)[0].concept.init == wanted.text


@pytest.mark.parametrize(
    ("settings", "tried", "said"),
    [
        ({}, {"in the snow", "on grass"}, "in the snow"),
        ({"scene": "on grass"}, {"on grass"}, "on grass"),
        ({"scene": ""}, set(), ""),
        ({"templates": "style"}, set(), ""),
    ],
)
def test_where_the_thing_is(
    make_config: Callable[..., TrainConfig],
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
    tried: set[str],
    said: str,
) -> None:
    """Scenes that the model knows are tried where nobody says which it is, and what was found is said in captions."""
    (session,) = prepare_all([make_config()])
    asked: list[set[str]] = []

    def find(family: object, views: object, words: object, scenes: list[str], *rest: object) -> suggestion.Suggestion:
        asked.append(set(scenes))
        scene = "in the snow" if "in the snow" in scenes else ""
        return suggestion.Suggestion((Step("thing", (), Phrase(("cat",), (), scene), 1),), 4, 5, 1.0)

    monkeypatch.setattr(suggestion, "find_words", find)
    monkeypatch.setattr(suggestion, "SCENES", ("in the snow", "on grass", "in the xyzzy"))
    monkeypatch.setattr(
        suggestion, "known_phrases", lambda slot, phrases: [each for each in phrases if "x" not in each]
    )
    concept = suggestion.find_init(make_config(init="auto", **settings), lambda: session.family)[0].concept
    assert asked == [tried]
    assert (concept.init, concept.scene) == ("cat", said)


def test_a_run_starts_from_the_words_and_keeps_them(
    make_config: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The rows are those of a run from the phrase, bit for bit; a resumed run does not search again."""
    monkeypatch.setattr(suggestion, "PASSES", 300)
    config = make_config(init="auto", steps=4)
    run = train(config)
    saved = read_yaml(str(run.folder / "config.yaml"))
    found = suggest(config, None, suggestion.PASSES)
    assert saved["init"] == found.phrase.text
    direct = train(make_config(init=found.phrase.text, steps=4, name="direct"))
    assert torch.equal(exported(run), exported(direct))

    def refuse(*arguments: object, **how: object) -> None:
        raise AssertionError("searched again")

    monkeypatch.setattr(suggestion, "WordLosses", refuse)
    longer = train(replace(config, steps=8, resume=True))
    assert longer.history[-1]["step"] == 8
    assert read_yaml(str(run.folder / "config.yaml"))["init"] == saved["init"]
    with pytest.raises(AssertionError, match="searched again"):
        train(replace(config, overwrite=True))


def test_concepts_that_are_trained_together_find_what_each_finds_alone(
    make_two: Callable[..., list[TrainConfig]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suggestion, "PASSES", 300)
    configs = [
        replace(config, concept=replace(config.concept, init="auto", num_vectors=1)) for config in make_two(steps=4)
    ]
    together = {run.folder.name: exported(run) for run in train_all(configs)}
    for config in configs:
        alone = train(replace(config, output=f"{config.output}-alone"))
        torch.testing.assert_close(exported(alone), together[alone.folder.name], rtol=1e-4, atol=1e-5)
    inits = [read_yaml(f"{config.output}/{config.run_name}/config.yaml")["init"] for config in configs]
    assert all(init in ("cat", "dog", "red", "snow", "beach") for init in inits)


def test_what_is_refused(make_config: Callable[..., TrainConfig], few: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="passes=14 do not suffice to compare 4 words"):
        suggest(make_config(), few, 14)
    empty = tmp_path / "empty.txt"
    empty.write_text("\n \n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"empty\.txt has no words"):
        read_words(str(empty))
    with pytest.raises(BadInput, match=r"gone\.txt cannot be read"):
        read_words(str(tmp_path / "gone.txt"))
    (session,) = prepare_all([make_config()])
    with pytest.raises(BadInput, match="knows none of our words"):
        find_words(session.family, [view for (view,) in session.data.views], [], [], 100, seed=0)


def test_a_clip_makes_a_short_list(few: str) -> None:
    """Of the bundled cat, a striped orange one with a blue collar: all its words are among the 16 of 53."""
    config = TrainConfig(Concept("<words>"), clip=TINY_CLIP)
    seen = suggestion.look_at_pictures(config, lambda: load_family(config, torch.device("cpu"), torch.float32))
    words = suggestion.candidates(seen, config.clip)
    assert len(words) == suggestion.MOST_WORDS == 16
    assert {"cat", "orange", "striped", "blue"} <= set(words) < set(suggestion.candidates(seen, None))
    assert suggestion.candidates(seen, config.clip, read_words(few))[0] == "cat"
    assert suggest(config, None, 300).words == 16
