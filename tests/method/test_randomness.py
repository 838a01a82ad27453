import torch

from ti_trainer.method.randomness import generator


def draws(*place) -> tuple[float, ...]:
    return tuple(torch.rand(4, generator=generator(*place), dtype=torch.float64).tolist())


def test_same_place_same_draws() -> None:
    assert draws(0, "<cat>", 3, 5) == draws(0, "<cat>", 3, 5)


def test_every_counter_and_their_order_matter() -> None:
    places = [
        (0, "<cat>", 3, 5),
        (1, "<cat>", 3, 5),
        (0, "<dog>", 3, 5),
        (0, "<cat>", 4, 5),
        (0, "<cat>", 3, 6),
        (0, "<cat>", 5, 3),
        (0, "<cat>", 35),
        (0, "<cat>", "3", 5),
        (0, "<cat>3", 5),
        (0, "<cat>, 3", 5),
        (0, 3, "<cat>", 5),
        (0, "<cat>", 3),
        (0,),
        (2**63 - 1, "<cat>", 3, 5),
    ]
    assert len({draws(*place) for place in places}) == len(places)


def test_neighbouring_places_are_independent() -> None:
    """Normal draws at 400 steps: mean, variance and the correlation of neighbours, within 4.5 deviations."""
    rows = torch.stack([torch.randn(50, generator=generator(0, "<cat>", step, 0)) for step in range(400)])
    count = rows.numel()
    assert abs(rows.mean()) < 4.5 / count**0.5
    assert abs(rows.square().mean() - 1) < 4.5 * (2 / count) ** 0.5
    assert abs((rows[1:] * rows[:-1]).mean()) < 4.5 / count**0.5


def test_knows_nothing_of_the_global_generator() -> None:
    torch.manual_seed(1)
    first = draws(0, "<cat>")
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert draws(0, "<cat>") == first
    torch.manual_seed(1)
    draws(0, "<dog>")
    assert torch.equal(torch.get_rng_state(), state)


def test_draws_stay_the_same_from_version_to_version() -> None:
    """A change here changes every run that was ever recorded."""
    assert generator(7, "<cat>", 1).initial_seed() == 1853669100637290301
