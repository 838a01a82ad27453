"""`train`: what it refuses and how it says so, and that flags and YAML agree."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from ti_trainer import Concept, Run, TrainConfig
from ti_trainer.cli import main
from ti_trainer.config.settings import (
    config_from_mapping,
    configs_from_mapping,
    configs_to_yaml,
    read_yaml,
)
from ti_trainer.embedding_files import read_embedding

REPOSITORY = Path(__file__).resolve().parents[1]


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every file with its contents, every folder with None."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def run_main(arguments: list[str]) -> int:
    try:
        return main(arguments)
    except SystemExit as stop:  # argparse's way
        return int(stop.code or 0)


@dataclass(frozen=True)
class Workplace:
    """A test's own folder: pictures of its own to spoil, and the arguments of a run that would succeed."""

    path: Path
    model: Path
    finished: Run

    @property
    def pictures(self) -> Path:
        return self.path / "pictures"

    def file(self, name: str, text: str) -> str:
        (self.path / name).write_text(text)
        return str(self.path / name)

    def folder(self, name: str) -> str:
        (self.path / name).mkdir()
        return str(self.path / name)

    def truncate(self, name: str) -> Path:
        """Make a JPEG of which half is missing, among the good pictures."""
        whole = io.BytesIO()
        with Image.open(self.pictures / "0.png") as picture:
            picture.resize((320, 320)).save(whole, "JPEG")
        (self.pictures / name).write_bytes(whole.getvalue()[: whole.tell() // 2])
        return self.pictures / name

    def arguments(self, **changes: str) -> list[str]:
        values = {
            "token": "<my-cat>",
            "images": str(self.pictures),
            "init": "cat",
            "model": str(self.model),
            "output": str(self.path / "runs"),
            "steps": "2",
            "preview_steps": "1",
            "precision": "fp32",
            **changes,
        }
        return ["train", *(part for name, value in values.items() for part in (f"--{name}", value))]


@pytest.fixture
def place(tmp_path: Path, pictures: Path, model: Path, finished_run: Run) -> Workplace:
    shutil.copytree(pictures, tmp_path / "pictures")
    return Workplace(tmp_path, model, finished_run)


def no_such_folder(place: Workplace) -> tuple[list[str], list[str]]:
    return place.arguments(images="no-such-folder"), ["--images no-such-folder does not exist", "give a folder"]


def folder_without_pictures(place: Workplace) -> tuple[list[str], list[str]]:
    folder = place.folder("empty")
    place.file("empty/notes.txt", "nothing to see")
    return place.arguments(images=folder), [f"--images {folder} holds no pictures", ".png"]


def truncated_jpeg(place: Workplace) -> tuple[list[str], list[str]]:
    return place.arguments(), [str(place.truncate("broken.jpg")), "damaged", "--skip_bad_images"]


def text_named_png(place: Workplace) -> tuple[list[str], list[str]]:
    file = place.file("pictures/letter.png", "Dear cat,")
    return place.arguments(), [file, "not a picture", "--skip_bad_images"]


def only_bad_pictures(place: Workplace) -> tuple[list[str], list[str]]:
    folder = place.folder("bad")
    file = place.file("bad/letter.png", "Dear cat,")
    return [*place.arguments(images=folder), "--skip_bad_images"], [file, "not one picture can be used"]


def token_is_a_word(place: Workplace) -> tuple[list[str], list[str]]:
    return place.arguments(token="cat"), ["'cat' is already a word of clip_l", "'<my-cat>'", "--tune"]


def tuned_token_is_no_word(place: Workplace) -> tuple[list[str], list[str]]:
    arguments = [*place.arguments(token="zebra", init="auto"), "--tune"]
    return arguments, ["--tune wants a word that clip_l has as one token", "'zebra'"]


def empty_token(place: Workplace) -> tuple[list[str], list[str]]:
    return place.arguments(token=""), ["--token is ''", "<my-cat>"]


def token_that_climbs_folders(place: Workplace) -> tuple[list[str], list[str]]:
    return place.arguments(token="<../../x>"), ["--token is '<../../x>'", "'<x>' would do"]


def captions_without_the_token(place: Workplace) -> tuple[list[str], list[str]]:
    place.file("pictures/2.txt", "a photo of a dog")
    wanted = [str(place.pictures / "2.png"), "does not mention <my-cat>", "{token}"]
    return place.arguments(), wanted


def caption_that_hides_the_token(place: Workplace) -> tuple[list[str], list[str]]:
    place.file("pictures/2.txt", "the red dog " * 30 + "and <my-cat>")
    return place.arguments(), [str(place.pictures / "2.png"), "the 75 that the model reads", "put the token first"]


def no_vectors(place: Workplace) -> tuple[list[str], list[str]]:
    return place.arguments(num_vectors="0"), ["--num_vectors is 0", "choose a number from 1 to 75"]


def too_many_vectors(place: Workplace) -> tuple[list[str], list[str]]:
    return place.arguments(num_vectors="100"), ["--num_vectors is 100", "choose a number from 1 to 75"]


def learning_rate_that_is_no_number(place: Workplace) -> tuple[list[str], list[str]]:
    return place.arguments(lr="nan"), ["--lr is nan", "choose a number from 0"]


def learning_rate_that_is_a_word(place: Workplace) -> tuple[list[str], list[str]]:
    return place.arguments(lr="fast"), ["--lr", "'fast'"]


def negative_steps(place: Workplace) -> tuple[list[str], list[str]]:
    return place.arguments(steps="-3"), ["--steps is -3", "choose a number from 1"]


def unknown_flag(place: Workplace) -> tuple[list[str], list[str]]:
    return [*place.arguments(), "--learn_rat", "1"], ["--learn_rat is not a flag"]


def misspelt_flag(place: Workplace) -> tuple[list[str], list[str]]:
    return [*place.arguments(), "--nun_vectors=2"], ["--nun_vectors", "did you mean --num_vectors?"]


def unknown_yaml_key(place: Workplace) -> tuple[list[str], list[str]]:
    file = place.file("settings.yaml", "lr_shedule: cosine\n")
    return [*place.arguments(), "--config", file], ["'lr_shedule' is not a setting", "did you mean lr_schedule?"]


def yaml_of_a_wrong_type(place: Workplace) -> tuple[list[str], list[str]]:
    file = place.file("settings.yaml", "batch_size: many\n")
    return [*place.arguments(), "--config", file], ["error: batch_size is 'many'; give a whole number"]


def yaml_out_of_range(place: Workplace) -> tuple[list[str], list[str]]:
    file = place.file("settings.yaml", "weighting: sharp\n")
    return [*place.arguments(), "--config", file], ["error: weighting is 'sharp'", "uniform, min_snr, debiased"]


def flag_beside_yaml(place: Workplace) -> tuple[list[str], list[str]]:
    file = place.file("settings.yaml", "tune: true\ntoken: cat\n")
    return ["train", "--config", file, "--init", "dog"], ["error: tune: true", "leave out --init and --num_vectors"]


def unknown_optimizer(place: Workplace) -> tuple[list[str], list[str]]:
    return place.arguments(optimizer="sgdm"), ["--optimizer is 'sgdm'", "adamw"]


def unknown_timesteps(place: Workplace) -> tuple[list[str], list[str]]:
    return place.arguments(timesteps="early"), ["--timesteps is 'early'", "range:LOW-HIGH"]


def yaml_whose_concepts_are_no_list(place: Workplace) -> tuple[list[str], list[str]]:
    file = place.file("settings.yaml", "concepts: 5\n")
    return ["train", "--config", file], ["concepts is 5", "not a list"]


def missing_yaml(place: Workplace) -> tuple[list[str], list[str]]:
    return [*place.arguments(), "--config", "no-such.yaml"], ["--config no-such.yaml cannot be read"]


def empty_model_folder(place: Workplace) -> tuple[list[str], list[str]]:
    folder = place.folder("model")
    return place.arguments(model=folder), [f"--model {folder}", "model_index.json is missing"]


def damaged_model_folder(place: Workplace) -> tuple[list[str], list[str]]:
    shutil.copytree(place.model, place.path / "model")
    shutil.rmtree(place.path / "model" / "unet")
    return place.arguments(model=str(place.path / "model")), [
        f"--model {place.path / 'model'} is not complete: its unet is missing"
    ]


def model_of_another_family(place: Workplace) -> tuple[list[str], list[str]]:
    place.folder("model")
    place.file("model/model_index.json", '{"_class_name": "KolorsPipeline"}')
    return place.arguments(model=str(place.path / "model")), [
        "is a KolorsPipeline",
        "known are StableDiffusionPipeline",
    ]


def missing_model(place: Workplace) -> tuple[list[str], list[str]]:
    return place.arguments(model="./no-such-model"), ["--model ./no-such-model does not exist", "hub id"]


def folder_that_holds_a_run(place: Workplace) -> tuple[list[str], list[str]]:
    shutil.copytree(place.finished.folder, place.path / "runs" / "my-cat")
    return place.arguments(), [str(place.path / "runs" / "my-cat"), "holds a run", "--resume", "--overwrite", "--name"]


def odd_resolution(place: Workplace) -> tuple[list[str], list[str]]:
    return place.arguments(resolution="34"), ["--resolution is 34", "a multiple of 4"]


def too_much_clip_skip(place: Workplace) -> tuple[list[str], list[str]]:
    return place.arguments(clip_skip="3"), ["--clip_skip is 3", "3 layers"]


def unknown_schedule(place: Workplace) -> tuple[list[str], list[str]]:
    return place.arguments(lr_schedule="zigzag"), ["--lr_schedule is 'zigzag'", "cosine"]


def init_file_that_is_missing(place: Workplace) -> tuple[list[str], list[str]]:
    return place.arguments(init="file:gone.safetensors"), ["gone.safetensors cannot be read: No such file"]


def init_longer_than_the_vectors(place: Workplace) -> tuple[list[str], list[str]]:
    arguments = place.arguments(init="a red cat", num_vectors="2")
    return arguments, ['--init "a red cat" has 3 tokens', "--num_vectors 2"]


def negative_early_stop(place: Workplace) -> tuple[list[str], list[str]]:
    return place.arguments(early_stop="-1"), ["--early_stop is -1", "choose a number from 0"]


def no_micro_batch(place: Workplace) -> tuple[list[str], list[str]]:
    return place.arguments(micro_batch_size="0"), ["--micro_batch_size is 0", "choose a number from 1"]


def micro_batch_that_is_no_number(place: Workplace) -> tuple[list[str], list[str]]:
    return place.arguments(micro_batch_size="half"), ["--micro_batch_size", "'half'"]


def log_never(place: Workplace) -> tuple[list[str], list[str]]:
    return place.arguments(log_every="0"), ["--log_every is 0", "choose a number from 1"]


def setting_of_before(place: Workplace) -> tuple[list[str], list[str]]:
    return place.arguments(gradient_accumulation="2"), ["--gradient_accumulation is not a flag"]


def plots_with_a_value(place: Workplace) -> tuple[list[str], list[str]]:
    return [*place.arguments(), "--no-plots=yes"], ["--no-plots"]


def url_of_an_unknown_kind(place: Workplace) -> tuple[list[str], list[str]]:
    return place.arguments(output="nowhere://bucket/runs"), ["nowhere:// is not opened", "s3://"]


def token_that_is_the_manifest(place: Workplace) -> tuple[list[str], list[str]]:
    return place.arguments(token="<manifest>"), [
        "'manifest' is the folder that lists what is done",
        "--token or --name",
    ]


def listed(place: Workplace, *concepts: dict[str, Any]) -> list[str]:
    """The arguments of a job with concepts in a config of one's own, which lie beside good settings of all."""
    values = [{"images": str(place.pictures), "init": "cat", **concept} for concept in concepts]
    flags = place.arguments()
    start = flags.index("--model")
    return ["train", *flags[start:], "--config", place.file("concepts.yaml", yaml.safe_dump({"concepts": values}))]


def concepts_of_two_models(place: Workplace) -> tuple[list[str], list[str]]:
    # not by a flag, which would hold for both
    shutil.copytree(place.model, place.path / "other")
    first = {"token": "<a>", "model": "tiny-sd"}
    arguments = listed(place, first, {"token": "<b>", "model": str(place.path / "other")})
    del arguments[1:3]
    return arguments, ["model is 'tiny-sd' for <a>", f"'{place.path / 'other'}' for <b>", "use one value, or two runs"]


def concepts_of_two_precisions(place: Workplace) -> tuple[list[str], list[str]]:
    arguments = listed(place, {"token": "<a>", "precision": "fp32"}, {"token": "<b>", "precision": "fp16"})
    start = arguments.index("--precision")
    del arguments[start : start + 2]
    return arguments, ["precision is 'fp32' for <a> and 'fp16' for <b>"]


def concepts_of_one_name(place: Workplace) -> tuple[list[str], list[str]]:
    arguments = listed(place, {"token": "<a>"}, {"token": "<b>", "name": "a"})
    return arguments, ["two concepts are called 'a'", "give each its own token or name"]


def concepts_with_one_token_by_a_flag(place: Workplace) -> tuple[list[str], list[str]]:
    return [*listed(place, {"token": "<a>"}, {"token": "<b>"}), "--token", "<c>"], ["two concepts are called 'c'"]


def concept_that_could_be_a_row(place: Workplace) -> tuple[list[str], list[str]]:
    arguments = listed(place, {"token": "tabby"}, {"token": "tabby_1"})
    return arguments, ["'tabby_1' could be a row of 'tabby'", "more than a number"]


def concept_with_a_misspelt_setting(place: Workplace) -> tuple[list[str], list[str]]:
    arguments = listed(place, {"token": "<a>"}, {"token": "<b>", "step": 5})
    return arguments, ["'step' is not a setting", "did you mean steps?"]


def concepts_in_a_missing_file(place: Workplace) -> tuple[list[str], list[str]]:
    return ["train", "--concepts", "no-such.jsonl"], ["no-such.jsonl does not exist", "<my-cat>"]


def concepts_in_a_text_file(place: Workplace) -> tuple[list[str], list[str]]:
    file = place.file("concepts.txt", "<a>\n<b>\n")
    return ["train", "--concepts", file], [f"{file} is no list of concepts", ".jsonl"]


BAD_INPUTS = [
    no_such_folder,
    folder_without_pictures,
    truncated_jpeg,
    text_named_png,
    only_bad_pictures,
    token_is_a_word,
    tuned_token_is_no_word,
    empty_token,
    token_that_climbs_folders,
    captions_without_the_token,
    caption_that_hides_the_token,
    no_vectors,
    too_many_vectors,
    learning_rate_that_is_no_number,
    learning_rate_that_is_a_word,
    negative_steps,
    unknown_flag,
    misspelt_flag,
    unknown_yaml_key,
    yaml_of_a_wrong_type,
    yaml_out_of_range,
    flag_beside_yaml,
    unknown_optimizer,
    unknown_timesteps,
    yaml_whose_concepts_are_no_list,
    missing_yaml,
    empty_model_folder,
    damaged_model_folder,
    model_of_another_family,
    missing_model,
    folder_that_holds_a_run,
    odd_resolution,
    too_much_clip_skip,
    unknown_schedule,
    init_file_that_is_missing,
    init_longer_than_the_vectors,
    negative_early_stop,
    no_micro_batch,
    micro_batch_that_is_no_number,
    log_never,
    setting_of_before,
    plots_with_a_value,
    url_of_an_unknown_kind,
    token_that_is_the_manifest,
    concepts_of_two_models,
    concepts_of_two_precisions,
    concepts_of_one_name,
    concepts_with_one_token_by_a_flag,
    concept_that_could_be_a_row,
    concept_with_a_misspelt_setting,
    concepts_in_a_missing_file,
    concepts_in_a_text_file,
]


@pytest.mark.parametrize("bad_input", BAD_INPUTS, ids=lambda bad_input: bad_input.__name__)
def test_bad_input(
    bad_input: Callable[[Workplace], tuple[list[str], list[str]]], place: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, a message that names the value and the cure, no traceback, and nothing written."""
    arguments, wanted = bad_input(place)
    before = tree(place.path)
    assert run_main(arguments) == 2
    errors = capsys.readouterr().err
    assert "error: " in errors
    for text in wanted:
        assert text in errors
    assert "Traceback" not in errors
    assert tree(place.path) == before


def test_bad_pictures_are_skipped_when_asked(place: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
    broken = place.truncate("broken.jpg")
    assert main([*place.arguments(), "--skip_bad_images"]) == 0
    assert f"left out: {broken}" in capsys.readouterr().err
    skipped = read_embedding(place.path / "runs" / "my-cat" / "my-cat.safetensors").vectors["clip_l"]
    broken.unlink()
    assert main(place.arguments(name="without")) == 0
    without = read_embedding(place.path / "runs" / "without" / "my-cat.safetensors").vectors["clip_l"]
    assert torch.equal(skipped, without)


def test_names_that_differ_by_more_than_a_row(place: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*listed(place, {"token": "<tabby>"}, {"token": "<tabby-1>"}, {"token": "<tabby_1>"}), "--no-plots"]
    assert main([*arguments, "--steps", "1"]) == 0
    assert sorted(path.stem for path in (place.path / "runs" / "manifest").iterdir()) == ["tabby", "tabby-1", "tabby_1"]
    rows = [
        read_embedding(place.path / "runs" / name / f"{name}.safetensors").vectors["clip_l"]
        for name in ("tabby", "tabby-1", "tabby_1")
    ]
    assert not torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[1], rows[2])
    assert not list((place.path / "runs").rglob("*.png"))


def test_no_token(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(["train"]) == 2
    assert '--token "<my-cat>"' in capsys.readouterr().err


@pytest.fixture
def settings(place: Workplace) -> str:
    return place.file(
        "settings.yaml",
        yaml.safe_dump(
            {
                "model": "tiny-sd",
                "steps": 5,
                "lr": "2e-3",
                "flip": True,
                "output": str(place.path / "elsewhere"),
                "concepts": [{"token": "<my-cat>", "images": str(place.pictures), "init": "cat", "num_vectors": 3}],
            }
        ),
    )


def test_flags_override_yaml(settings: str, place: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--config", settings, "--steps", "7", "--init", "dog", "--no-flip", "--print_config"]) == 0
    found = config_from_mapping(yaml.safe_load(capsys.readouterr().out))
    concept = Concept("<my-cat>", str(place.pictures), init="dog", num_vectors=3)
    how = {"steps": 7, "lr": 2e-3, "flip": False, "output": str(place.path / "elsewhere")}
    wanted = TrainConfig(concept=concept, model="tiny-sd", **how)
    assert found == wanted
    assert not (place.path / "elsewhere").exists()


def test_flags_override_yaml_of_several_concepts(place: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
    file = place.file("two.yaml", "concepts:\n- token: <my-cat>\n  init: cat\n- token: <my-dog>\nnum_vectors: 4\n")
    assert main(["train", "--config", file, "--lr", "0.1", "--print_config"]) == 0
    found = configs_from_mapping(yaml.safe_load(capsys.readouterr().out))
    cat, dog = Concept("<my-cat>", init="cat", num_vectors=4), Concept("<my-dog>", num_vectors=4)
    assert found == [TrainConfig(concept=cat, lr=0.1), TrainConfig(concept=dog, lr=0.1)]


def test_printed_config_is_the_whole_config_and_trains(
    place: Workplace, base_settings: dict[str, Any], finished_run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {name: value for name, value in base_settings.items() if name != "plots"}
    flags = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    assert main(["train", *flags, "--output", str(place.path / "runs"), "--print_config"]) == 0
    printed = capsys.readouterr().out
    wanted = config_from_mapping({**settings, "output": str(place.path / "runs")})
    assert config_from_mapping(yaml.safe_load(printed)) == wanted
    file = place.file("printed.yaml", printed)
    assert main(["train", "--config", file, "--print_config"]) == 0
    assert capsys.readouterr().out == printed == configs_to_yaml([wanted])

    assert main(["train", "--config", file]) == 0
    out = capsys.readouterr().out
    folder = place.path / "runs" / "my-cat"
    assert (folder / "my-cat.safetensors").read_bytes() == finished_run.embedding.read_bytes()
    assert read_yaml(str(folder / "config.yaml")) == yaml.safe_load(printed)
    for text in (
        str(folder / "my-cat.safetensors"),
        str(folder / "before_after.png"),
        "load_textual_inversion",
        "WebUIs",
    ):
        assert text in out
