"""From a folder of pictures to words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.learning import prepare_all
from ti_trainer import BadInput, Concept, TrainConfig
from ti_trainer.method.suggest import ROUNDS
from ti_trainer.training import suggestion
from ti_trainer.training.suggestion import find_words, read_words, suggest
from ti_trainer.training.word_losses import WordLosses


@pytest.fixture
def few(tmp_path: Path) -> str:
    file = tmp_path / "words.txt"
    file.write_text("cat\n\nfish\n house \norange\ncat\n", encoding="utf-8")
    return str(file)


def test_the_bundled_cat_is_found(few: str) -> None:
    """With passes for one word only: 4 words x 10 draws, then three x 10, 20 and 40 more; its colour comes next."""
    found = suggest(TrainConfig(Concept("<words>")), few, 40 + 3 * 70)
    assert found.phrase.text == "cat"
    assert (found.passes, found.pictures, found.words, found.is_whole) == (250, 5, 4, True)
    assert [reading.draws for reading in found.steps[0].ranking] == [ROUNDS[-1]] * 3 + [ROUNDS[0]]
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
    whole = find_words(session.family, views, words, 100_000, seed=0)
    first = whole.steps[0].passes

    class Stopped(WordLosses):
        most = first

        def __call__(self, texts: list[str], draws: range) -> torch.Tensor:  # type: ignore[override]
            Stopped.most -= len(texts) * len(draws)
            if Stopped.most < 0:
                raise KeyboardInterrupt
            return super().__call__(texts, draws)

    monkeypatch.setattr(suggestion, "WordLosses", Stopped)
    found = find_words(session.family, views, words, 100_000, seed=0)
    assert not found.is_whole
    assert found.steps == whole.steps[:1]
    Stopped.most = first - 1
    with pytest.raises(KeyboardInterrupt):
        find_words(session.family, views, words, 100_000, seed=0)


def test_what_is_refused(make_config: Callable[..., TrainConfig], few: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="passes=39 do not suffice to compare 4 words"):
        suggest(make_config(), few, 39)
    empty = tmp_path / "empty.txt"
    empty.write_text("\n \n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"empty\.txt has no words"):
        read_words(str(empty))
    with pytest.raises(BadInput, match=r"gone\.txt cannot be read"):
        read_words(str(tmp_path / "gone.txt"))
    (session,) = prepare_all([make_config()])
    with pytest.raises(BadInput, match="knows none of our words"):
        find_words(session.family, [view for (view,) in session.data.views], [], 100, seed=0)
