"""From a folder of pictures to captions beside them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.learning import prepare_all
from tests.reports.captioners import build_blip
from ti_trainer import BadInput, TrainConfig
from ti_trainer.config.bundled import MY_CAT, TINY_CLIP, TINY_SD, resolve
from ti_trainer.data.images import read_image
from ti_trainer.data.scanning import load_examples
from ti_trainer.method.placeholders import NOBODY
from ti_trainer.method.randomness import generator
from ti_trainer.method.scenes import ROUNDS, SCENES, WORTH, known_phrases
from ti_trainer.method.sentences import name_subject
from ti_trainer.reports.captioner import Captioner
from ti_trainer.reports.clip_choice import ClipChoice
from ti_trainer.reports.scorers import ClipScorer
from ti_trainer.training import captioning
from ti_trainer.training.captioning import Captioning, write_captions
from ti_trainer.training.prepare import Session

PHRASES = ["in the snow", "on the beach", "in the red", "on the picture"]


@pytest.fixture
def folder(pictures: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pictures, tmp_path / "pictures")


@pytest.fixture
def listed(tmp_path: Path) -> str:
    file = tmp_path / "phrases.txt"
    file.write_text("\n".join(["", *PHRASES, "in  the snow"]), encoding="utf-8")
    return str(file)


def captions_in(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))}


def write(config: TrainConfig, is_trial: bool = False, **how: str) -> list[str]:
    lines: list[str] = []
    write_captions(config, Captioning(**how), is_trial, lines.append)
    return lines


@torch.no_grad()
def scene_losses(session: Session, texts: list[str]) -> torch.Tensor:
    """Of each picture (pictures, texts): the mean over 16 draws, one text at a time."""
    family = session.family
    schedule = family.schedule
    table = torch.zeros(len(session.data.views), len(texts))
    for row, (view,) in enumerate(session.data.views):
        latents = family.to_latents(view.encode().mean[None])
        for column, text in enumerate(texts):
            told = family.encode_text([f"a photo of a {text}"], [NOBODY])
            for index in range(ROUNDS[-1]):
                where = 0.5 + 0.5 * ((0.5 + index * 0.6180339887498949) % 1)  # the noisier half
                timestep = torch.tensor([int(where * 1000)])
                noise = torch.randn(latents.shape[1:], generator=generator(session.config.seed, "words", index))[None]
                sizes = torch.tensor([view.sizes])
                found = family.predict(schedule.add_noise(latents, noise, timestep), timestep, told, sizes)
                table[row, column] += (found - noise).square().mean() / ROUNDS[-1]
    return table


def test_the_phrase_with_the_least_loss(
    make_config: Callable[..., TrainConfig], folder: Path, listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each picture, by a loop over texts and draws; here no text leaves early."""
    monkeypatch.setattr("ti_trainer.method.scenes.SURVIVORS", 1)
    config = make_config(images=str(folder), seed=3)
    (session,) = prepare_all([config])
    losses = scene_losses(session, ["cat", *(f"cat {phrase}" for phrase in PHRASES)])
    lines = write(config, phrases=listed)
    said = ["", *(f" {phrase}" for phrase in PHRASES)]
    chosen = [int(row.argmin()) if row.min() < (1 - WORTH) * row[0] else 0 for row in losses]
    wanted = {f"{number}.txt": f"a photo of <my-cat>{said[best]}\n" for number, best in enumerate(chosen)}
    assert captions_in(folder) == wanted
    assert lines == [*(f"{folder / name}: {text.strip()}" for name, text in wanted.items()), "4 captions written"]
    assert 0 not in chosen


def test_the_scenes_of_the_bundled_pictures(make_config: Callable[..., TrainConfig], tmp_path: Path) -> None:
    """The bundled model finds four, and says none before a wall, of which there is no phrase."""
    folder = shutil.copytree(resolve(MY_CAT), tmp_path / "cat")
    scenes = ["on grass", "in the snow", "at night", "on the beach", "at sunset"]
    file = tmp_path / "scenes.txt"
    file.write_text("\n".join(scenes), encoding="utf-8")
    write(make_config(images=str(folder), model=TINY_SD), phrases=str(file))
    shown = [" on grass", " in the snow", " on the beach", " at sunset", ""]  # sample_data/world/references.py
    assert captions_in(folder) == {
        f"{number}.txt": f"a photo of <my-cat>{scene}\n" for number, scene in enumerate(shown, 1)
    }


def test_the_phrase_that_a_clip_chooses(make_config: Callable[..., TrainConfig], tmp_path: Path) -> None:
    """Of ours that it knows, for the bundled pictures."""
    folder = shutil.copytree(resolve(MY_CAT), tmp_path / "cat")
    choice = ClipChoice(ClipScorer(TINY_CLIP))
    scenes = known_phrases(choice, SCENES)
    texts = ["a photo of a cat", *(f"a photo of a cat {phrase}" for phrase in scenes)]
    config = make_config(images=str(folder))
    examples, _ = load_examples(config.concept, False)
    write(config, clip=TINY_CLIP)
    best = [choice.choose(read_image(example.picture), texts) for example in examples]
    wanted = [texts[number].replace("a cat", "<my-cat>") + "\n" for number in best]
    assert list(captions_in(folder).values()) == wanted
    assert "a photo of <my-cat> on grass\n" in wanted


@pytest.mark.long
def test_the_sentences_of_a_captioner(make_config: Callable[..., TrainConfig], folder: Path, tmp_path: Path) -> None:
    """With the token in place of what the subject is called, upright and on white as training sees the picture."""
    Image.new("RGBA", (32, 32), (0, 0, 255, 0)).save(folder / "clear.png")
    source = str(build_blip(tmp_path / "blip"))
    captioner = Captioner(source)
    config = make_config(images=str(folder))
    examples, _ = load_examples(config.concept, False)
    sentences = [captioner(read_image(example.picture)) for example in examples]
    write(config, captioner=source, subject="dog, sofa")
    wanted = [name_subject(sentence, ["dog", "sofa"], "<my-cat>") + "\n" for sentence in sentences]
    assert list(captions_in(folder).values()) == wanted
    assert captioner(read_image(examples[-1].picture)) == captioner(Image.new("RGB", (32, 32), "white"))


def test_captions_stay_and_a_rerun_goes_on(
    make_config: Callable[..., TrainConfig], folder: Path, listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped at the third picture and called again: the same captions as in one go, beside what was there before."""
    config = make_config(images=str(folder))
    whole = [line for line in write(config, is_trial=True, phrases=listed) if ": " in line]
    assert len(whole) == 4
    assert not captions_in(folder)
    (folder / "1.txt").write_text("mine, {token}", encoding="utf-8")
    real = captioning.write_sidecar

    def stop(path: Path, caption: str) -> bool:
        if path.name == "3.txt":
            raise KeyboardInterrupt
        return real(path, caption)

    monkeypatch.setattr(captioning, "write_sidecar", stop)
    with pytest.raises(KeyboardInterrupt):
        write(config, phrases=listed)
    assert set(captions_in(folder)) == {"0.txt", "1.txt", "2.txt"}
    monkeypatch.setattr(captioning, "write_sidecar", real)
    lines = write(config, phrases=listed)
    first = f"left alone, for they have captions: {', '.join(str(folder / f'{number}.txt') for number in range(3))}"
    assert lines == [first, whole[3], "1 caption written"]
    expected = {Path(line.split(": ")[0]).name: line.split(": ")[1] + "\n" for line in whole}
    assert captions_in(folder) == {**expected, "1.txt": "mine, {token}"}


def test_a_caption_that_appears_meanwhile_stays(
    make_config: Callable[..., TrainConfig], folder: Path, listed: str
) -> None:
    def say(line: str) -> None:
        (folder / "3.txt").write_text("mine", encoding="utf-8")
        lines.append(line)

    lines: list[str] = []
    write_captions(make_config(images=str(folder)), Captioning(phrases=listed), False, say)
    assert captions_in(folder)["3.txt"] == "mine"
    assert lines[-2:] == [f"left alone, it is there by now: {folder / '3.txt'}", "3 captions written"]


def test_where_all_have_captions_no_model_is_loaded(make_config: Callable[..., TrainConfig], folder: Path) -> None:
    for number in range(4):
        (folder / f"{number}.txt").write_text("a {token}", encoding="utf-8")
    lines = write(make_config(images=str(folder), model="nowhere"))
    assert lines[1:] == ["0 captions written"]


def test_damaged_pictures(make_config: Callable[..., TrainConfig], folder: Path, listed: str) -> None:
    """Nothing is written, or with `skip_bad_images` all but theirs."""
    (folder / "2.png").write_bytes(b"no picture")
    with pytest.raises(BadInput, match=r"2\.png is not a picture(.|\n)*skip_bad_images=True"):
        write(make_config(images=str(folder), model="nowhere"), phrases=listed)
    assert not captions_in(folder)
    lines = write(make_config(images=str(folder), skip_bad_images=True), phrases=listed)
    assert set(captions_in(folder)) == {"0.txt", "1.txt", "3.txt"}
    assert lines[0].startswith("left out: ")


def test_what_is_refused(make_config: Callable[..., TrainConfig], folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="without clip; leave out one"):
        Captioning(captioner="a", clip="b")
    with pytest.raises(BadInput, match="without phrases; leave out one"):
        Captioning(captioner="a", phrases="b")
    config = make_config(images=str(folder))
    with pytest.raises(BadInput, match='subject=" , " names nothing'):
        write(config, subject=" , ")
    empty = tmp_path / "empty.txt"
    empty.write_text("\n \n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"empty\.txt has no words"):
        write(config, phrases=str(empty))
    with pytest.raises(BadInput, match=r"captioner=.* cannot be loaded"):
        write(config, captioner=str(tmp_path))
    assert os.listdir(folder) == [path.name for path in folder.iterdir() if path.suffix == ".png"]


def test_a_model_that_knows_none_of_our_phrases(
    make_config: Callable[..., TrainConfig], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captioning, "SCENES", ("in a kitchen", "on a carpet"))
    with pytest.raises(BadInput, match="knows none of our phrases; list some in a file: phrases="):
        write(make_config(images=str(folder)))


def test_names_of_the_subject() -> None:
    assert Captioning().names("<my-cat>") == ["cat"]
    assert Captioning(subject=" coffee  mug,mug ,").names("<x>") == ["coffee mug", "mug"]
