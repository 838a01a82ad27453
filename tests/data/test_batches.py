import math
from pathlib import Path

import pytest
import torch

from tests.drawing import draw_batch
from ti_trainer.data.batches import (
    Batch,
    ConceptData,
    Draw,
    draw_example,
    same_shape,
    stack_draws,
)
from ti_trainer.data.examples import Example
from ti_trainer.data.geometry import View
from ti_trainer.data.images import Picture
from ti_trainer.data.latents import CachedView, LatentPosterior
from ti_trainer.method.randomness import generator

SIZE = 8  # of a batch
SHAPE = (4, 2, 2)


VIEW = View((0.0, 0.0, 64.0, 64.0), (64, 64), False)


def cached(number: int, shape: tuple[int, ...] = SHAPE, mask: float | None = None) -> CachedView:
    """A view with the mean `number` and the deviation 100 + number."""
    mean = torch.full(shape, float(number))
    weights = None if mask is None else torch.full((1, *shape[1:]), mask)
    c, h, w = shape
    return CachedView(VIEW, (number, 0, 0, 0, 64, 64), (c, h, w), lambda: LatentPosterior(mean, mean + 100), weights)


def example(number: int, **fields) -> Example:
    """Picture i has the captions "i.0 <cat>" to "i.3 <cat>"."""
    captions = tuple(f"{number}.{j} {{token}}" for j in range(4))
    return Example(Picture.at(Path(f"{number}.png")), captions, (64, 64), **fields)


def concept(token: str = "<cat>", pictures: int = 3, views: int = 1) -> ConceptData:
    """View v of picture i has the mean v * pictures + i."""
    shown = [[cached(view * pictures + number) for view in range(views)] for number in range(pictures)]
    return ConceptData(token, [example(number) for number in range(pictures)], shown)


def rows_of(batch: Batch) -> list[tuple]:
    """Everything about each example, comparable to the bit."""
    parts = (
        *(batch.posterior.mean, batch.posterior.std, batch.posterior_noise, batch.noise),
        *(batch.timestep_draws, batch.sizes, batch.weights, batch.shares),
    )
    names = list(zip(batch.captions, batch.owners, strict=True))
    return [(*names[i], *(part[i].numpy().tobytes() for part in parts)) for i in range(len(names))]


def numbers_of(batch: Batch) -> list[int]:
    return batch.posterior.mean[:, 0, 0, 0].int().tolist()


@pytest.mark.parametrize(
    "split",
    [
        [range(0, SIZE, 2), range(1, SIZE, 2)],
        [[i] for i in range(SIZE)],
        [range(SIZE - 1, -1, -1)],
        [[0, 1, 2], [7, 3, 4, 5, 6]],
    ],
    ids=["two processes", "one by one", "backwards", "unequal parts"],
)
def test_an_example_is_the_same_whoever_is_beside_it(split: list) -> None:
    data = concept(views=2)
    whole = rows_of(draw_batch(data, 0, 5, range(SIZE), SIZE))
    for part in split:
        assert rows_of(draw_batch(data, 0, 5, part, SIZE)) == [whole[i] for i in part]


@pytest.mark.parametrize(("views", "repeats"), [(1, 1), (2, 1), (16, 1), (2, 3)])
def test_what_is_drawn_and_in_which_order(views: int, repeats: int) -> None:
    """A run of this version goes on as one of any other: the draws written out. Repeats of all pictures change none."""
    data = concept(views=views)
    data = ConceptData(data.token, [example(number, repeats=repeats) for number in range(3)], data.views)
    for index in range(SIZE):
        draws = generator(7, "<cat>", 5, index)
        number = int(torch.randint(3 * views * repeats, (), generator=draws))
        caption = int(torch.randint(4, (), generator=draws))
        timestep = (index + float(torch.rand((), generator=draws, dtype=torch.float64))) / SIZE
        noises = [torch.randn(SHAPE, generator=draws) for _ in range(2)]
        view, picture = number // (3 * repeats), number % (3 * repeats) // repeats
        batch = draw_batch(data, 7, 5, [index], SIZE)
        assert numbers_of(batch) == [view * 3 + picture]
        assert batch.captions == [f"{picture}.{caption} <cat>"]
        assert batch.timestep_draws.tolist() == torch.tensor([timestep]).tolist()
        assert torch.equal(batch.posterior_noise[0], noises[0])
        assert torch.equal(batch.noise[0], noises[1])


def test_views_that_are_all_the_same_change_nothing() -> None:
    """Pictures that fill the square have equal crops: what is drawn is what is drawn without crops, mirrored or not."""
    plain, flipped = concept(), concept(views=2)
    cropped = ConceptData("<cat>", plain.examples, [list(views) * 8 for views in plain.views])
    both = ConceptData("<cat>", plain.examples, [list(views) * 8 for views in flipped.views])
    for step in range(20):
        for one, other in ((plain, cropped), (flipped, both)):
            first, second = (rows_of(draw_batch(data, 0, step, range(SIZE), SIZE)) for data in (one, other))
            assert first == second


def test_global_generator_neither_matters_nor_changes() -> None:
    torch.manual_seed(1)
    first = rows_of(draw_batch(concept(), 0, 5, range(SIZE), SIZE))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert rows_of(draw_batch(concept(), 0, 5, range(SIZE), SIZE)) == first
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("change", [{"step": 6}, {"seed": 1}, {"token": "<dog>"}])
def test_other_steps_seeds_and_concepts_draw_anew(change: dict) -> None:
    place = {"seed": 0, "step": 5, "token": "<cat>"}

    def draw(seed: int, step: int, token: str) -> Batch:
        return draw_batch(concept(token), seed, step, range(SIZE), SIZE)

    first, other = draw(**place), draw(**{**place, **change})
    noises = torch.cat([first.noise, first.posterior_noise, other.noise, other.posterior_noise])  # (4B, c, h, w)
    assert len(torch.unique(noises, dim=0)) == 4 * SIZE
    assert not set(first.timestep_draws.tolist()) & set(other.timestep_draws.tolist())
    assert first.captions != other.captions


def test_concepts_in_one_batch_see_what_they_see_alone() -> None:
    """Batches of their own sizes; each example is that part of its own concept's loss."""
    draws = [
        [draw_example(concept(token), 0, 3, index, size) for index in range(size)]
        for token, size in (("<cat>", 4), ("<dog>", 3))
    ]
    together = stack_draws([*draws[0], *draws[1]])
    assert rows_of(together) == rows_of(stack_draws(draws[0])) + rows_of(stack_draws(draws[1]))
    assert together.owners == ["<cat>"] * 4 + ["<dog>"] * 3
    assert together.shares.tolist() == torch.tensor([1 / 4] * 4 + [1 / 3] * 3).tolist()


def test_an_owner_tells_concepts_of_one_token_apart_and_changes_no_draw() -> None:
    plain = concept()
    keyed = ConceptData(plain.token, plain.examples, plain.views, owner="runs/cat")
    one, other = (draw_batch(data, 0, 3, range(SIZE), SIZE) for data in (plain, keyed))
    assert (one.owners, other.owners) == (["<cat>"] * SIZE, ["runs/cat"] * SIZE)
    assert [row[:1] + row[2:] for row in rows_of(one)] == [row[:1] + row[2:] for row in rows_of(other)]


def test_what_is_drawn_is_not_encoded_until_it_is_stacked() -> None:
    encoded: list[int] = []

    def view(number: int) -> CachedView:
        def encode() -> LatentPosterior:
            encoded.append(number)
            return cached(number).encode()

        return CachedView(VIEW, (number, 0, 0, 0, 64, 64), SHAPE, encode)

    data = ConceptData("<cat>", [example(number) for number in range(30)], [[view(number)] for number in range(30)])
    draws = [draw_example(data, 0, 0, index, SIZE) for index in range(SIZE)]
    assert data.shape == SHAPE
    assert [len(group) for group in same_shape(dict(enumerate(draws)), lambda shape: 5)] == [5, 3]
    assert encoded == []
    drawn = numbers_of(stack_draws(draws))
    assert encoded == list(dict.fromkeys(drawn))
    assert numbers_of(stack_draws(draws)) == drawn
    assert encoded == list(dict.fromkeys(drawn))


def test_timesteps_lie_in_their_parts() -> None:
    """Index i draws from the i-th of SIZE equal parts, evenly over the steps."""
    draws = torch.stack([draw_batch(concept(), 0, step, range(SIZE), SIZE).timestep_draws for step in range(300)])
    within = draws * SIZE - torch.arange(SIZE)  # (steps, B)
    assert (within >= 0).all()
    assert (within < 1).all()
    deviation = 1 / math.sqrt(12 * within.numel())
    assert abs(within.mean() - 0.5) < 4.5 * deviation
    assert within.min() < 0.01
    assert within.max() > 0.99
    (alone,) = draw_batch(concept(), 0, 0, [5], 6).timestep_draws
    assert 5 / 6 <= alone < 1


def test_noise_is_standard_normal_and_the_two_are_independent() -> None:
    batches = [draw_batch(concept(), 0, step, range(SIZE), SIZE) for step in range(60)]
    noise = torch.cat([batch.noise for batch in batches]).flatten()
    posterior_noise = torch.cat([batch.posterior_noise for batch in batches]).flatten()
    count = len(noise)
    for values in (noise, posterior_noise):
        assert abs(values.mean()) < 4.5 / count**0.5
        assert abs(values.square().mean() - 1) < 4.5 * (2 / count) ** 0.5
    assert abs((noise * posterior_noise).mean()) < 4.5 / count**0.5


@pytest.mark.parametrize("views", [1, 2])
def test_every_picture_view_and_caption_has_its_turn(views: int) -> None:
    data = concept(views=views)
    batches = [draw_batch(data, 0, step, range(SIZE), SIZE) for step in range(150)]
    numbers = torch.tensor([number for batch in batches for number in numbers_of(batch)])
    expected = len(numbers) / (3 * views)
    counts = numbers.bincount()
    assert len(counts) == 3 * views
    assert (counts - expected).abs().max() < 4.5 * expected**0.5
    captions = [caption for batch in batches for caption in batch.captions]
    assert set(captions) == {f"{i}.{j} <cat>" for i in range(3) for j in range(4)}


def test_captions_belong_to_their_pictures_whatever_the_view() -> None:
    """View 1 of picture 0 has picture 0's captions. Mean, deviation and sizes stay together."""
    for step in range(40):
        batch = draw_batch(concept(views=2), 0, step, range(SIZE), SIZE)
        assert torch.equal(batch.posterior.std, batch.posterior.mean + 100)
        assert batch.sizes[:, 0].tolist() == numbers_of(batch)
        for number, caption in zip(numbers_of(batch), batch.captions, strict=True):
            assert caption.startswith(f"{number % 3}.")


def shares(data: ConceptData, steps: int = 400) -> list[float]:
    """How often each picture of a concept with one view each is drawn."""
    drawn = [draw_example(data, 0, step, index, SIZE) for step in range(steps) for index in range(SIZE)]
    numbers = torch.tensor([int(draw.view.encode().mean[0, 0, 0]) for draw in drawn])
    return (numbers.bincount(minlength=len(data.examples)) / len(numbers)).tolist()


def test_repeats_say_how_often_a_picture_is_drawn() -> None:
    examples = [example(0, repeats=1), example(1, repeats=5), example(2, repeats=2)]
    found = shares(ConceptData("<cat>", examples, concept().views))
    assert found == pytest.approx([1 / 8, 5 / 8, 2 / 8], abs=0.04)


def test_pictures_of_the_class_are_half_of_the_draws() -> None:
    examples = [example(0), example(1), example(2, is_class=True, weight=0.25), example(3, is_class=True, repeats=3)]
    data = ConceptData("<cat>", examples, concept(pictures=4).views)
    assert data.own == [0, 1]
    assert shares(data) == pytest.approx([1 / 4, 1 / 4, 1 / 8, 3 / 8], abs=0.04)


def test_weights_and_masks_stay_with_their_examples() -> None:
    examples = [example(0, weight=0.5), example(1), example(2, weight=3.0)]
    data = ConceptData("<cat>", examples, [[cached(0, mask=0.25)], [cached(1)], [cached(2, mask=0.75)]])
    batch = draw_batch(data, 0, 1, range(SIZE), SIZE)
    assert set(numbers_of(batch)) == {0, 1, 2}
    assert batch.mask is not None
    assert batch.mask.shape == (SIZE, 1, 2, 2)
    for i, number in enumerate(numbers_of(batch)):
        assert batch.weights[i] == (0.5, 1, 3)[number]
        assert batch.mask[i].unique().tolist() == [(0.25, 1, 0.75)[number]]
    assert draw_batch(concept(), 0, 1, range(SIZE), SIZE).mask is None


def drawn(number: int, shape: tuple[int, ...]) -> Draw:
    return draw_example(ConceptData("<cat>", [example(number)], [[cached(number, shape)]]), 0, 0, 0, 1)


def test_groups_of_one_shape() -> None:
    """In their order, none larger than wanted, and of one shape as a plain batch would be."""
    wide, square = (4, 2, 4), SHAPE
    shapes = [square, wide, square, square, wide, square, square]
    draws = {f"key {number}": drawn(number, shape) for number, shape in enumerate(shapes)}
    assert same_shape(draws, lambda shape: 3) == [["key 0", "key 2", "key 3"], ["key 5", "key 6"], ["key 1", "key 4"]]
    assert same_shape(draws, lambda shape: 12 // (shape[1] * shape[2])) == [
        *(["key 0", "key 2", "key 3"], ["key 5", "key 6"]),
        *(["key 1"], ["key 4"]),
    ]
    plain = {key: drawn(key, SHAPE) for key in range(7)}
    assert same_shape(plain, lambda shape: 3) == [[0, 1, 2], [3, 4, 5], [6]]
    assert same_shape({}, lambda shape: 3) == []


def test_a_policy_spreads_the_timesteps() -> None:
    plain, spread = (
        stack_draws([draw_example(concept(), 0, 0, index, SIZE, policy) for index in range(SIZE)])
        for policy in (torch.clone, torch.square)
    )
    assert torch.equal(spread.timestep_draws, plain.timestep_draws.square())
    assert torch.equal(spread.noise, plain.noise)
