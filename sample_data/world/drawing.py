"""Drawing descriptions as pictures of 64 pixels."""

from __future__ import annotations

import math
import random

from PIL import Image, ImageChops, ImageDraw

from .attributes import COLOURS, Description
from .shapes import SHAPES, Points

SIZE = 64
OVERSAMPLE = 4
CANVAS = SIZE * OVERSAMPLE
GREY = (128, 128, 130)  # of a part without a colour in the description; no colour of COLOURS is grey
RGB = tuple[int, int, int]

# The colours of sky and ground.
SCENERY: dict[str, tuple[RGB, RGB]] = {
    "grass": ((150, 208, 248), (88, 178, 72)),
    "snow": ((196, 212, 230), (248, 250, 253)),
    "night": ((16, 20, 62), (26, 46, 40)),
    "beach": ((140, 206, 250), (240, 216, 150)),
    "sunset": ((252, 130, 80), (92, 56, 80)),
}


def mix(a: RGB, b: RGB, share: float) -> RGB:
    """A mixture of two colours: 0 is all `a`, 1 is all `b`."""
    red, green, blue = (int(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def vary(colour: RGB, rng: random.Random, spread: float = 10) -> RGB:
    """A colour near the given one: each channel is changed by up to `spread`."""
    red, green, blue = (max(0, min(255, int(v + rng.uniform(-spread, spread)))) for v in colour)
    return red, green, blue


def contrast(colour: RGB) -> RGB:
    """The second colour of a pattern: a light shade for dark bodies, a dark one for light bodies."""
    luminance = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]
    return mix(colour, (255, 255, 255), 0.78) if luminance < 135 else mix(colour, (40, 14, 8), 0.7)


def disc(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, fill: RGB) -> None:
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def draw_scene(description: Description, rng: random.Random) -> tuple[Image.Image, int | None]:
    """The background, and the height of its horizon in canvas pixels (None before a wall)."""
    if description.scene == "plain":
        wall = mix(COLOURS[description.backdrop], (255, 255, 255), 0.1)
        return Image.new("RGB", (CANVAS, CANVAS), vary(wall, rng)), None
    sky, ground = SCENERY[description.scene]
    image = Image.new("RGB", (CANVAS, CANVAS), vary(sky, rng, 8))
    draw = ImageDraw.Draw(image)
    horizon = int(CANVAS * rng.uniform(0.56, 0.68))
    if description.scene == "sunset":
        for band in range(8):
            colour = mix((190, 70, 120), (255, 176, 70), band / 7)
            draw.rectangle((0, horizon * band // 8, CANVAS, horizon * (band + 1) // 8), fill=colour)
        disc(draw, rng.uniform(0.1, 0.9) * CANVAS, horizon - 4, 30, (255, 226, 120))
    elif description.scene == "night":
        for _ in range(7):
            disc(draw, rng.uniform(0, CANVAS), rng.uniform(0, 0.9 * horizon), 4, (230, 230, 255))
        disc(draw, rng.choice((0.12, 0.88)) * CANVAS, 0.13 * CANVAS, 20, (244, 240, 200))
    elif description.scene == "beach":
        draw.rectangle((0, horizon - 28, CANVAS, horizon), fill=(40, 130, 200))
    elif description.scene == "grass" and rng.random() < 0.5:
        disc(draw, rng.choice((0.12, 0.88)) * CANVAS, 0.13 * CANVAS, 20, (255, 232, 90))
    draw.rectangle((0, horizon, CANVAS, CANVAS), fill=vary(ground, rng, 8))
    return image, horizon


def draw_pattern(pattern: str, colour: RGB, x: float, y: float, radius: float, rng: random.Random) -> Image.Image:
    """A canvas full of the body's colour, with stripes or spots around (x, y)."""
    cloth = Image.new("RGB", (CANVAS, CANVAS), colour)
    draw = ImageDraw.Draw(cloth)
    second = contrast(colour)
    if pattern == "striped":
        period = 9.5 * OVERSAMPLE * rng.uniform(0.92, 1.08)
        lean = rng.uniform(-0.1, 0.1) * radius
        stripe = x - 2 * radius - rng.uniform(0, period)
        while stripe < x + 2 * radius:
            line = [(stripe - lean, y - 1.4 * radius), (stripe + lean, y + 1.4 * radius)]
            draw.line(line, fill=second, width=int(0.45 * period))
            stripe += period
    elif pattern == "spotted":
        period = 10.5 * OVERSAMPLE * rng.uniform(0.92, 1.08)
        dx = rng.uniform(0, period)
        dy = rng.uniform(0, period)
        for column in range(-6, 7):
            for row in range(-6, 7):
                centre = (x + dx + (column + 0.5 * (row % 2)) * period, y + dy + row * 0.85 * period)
                disc(draw, *centre, 0.29 * period, second)
    return cloth


def draw(description: Description, rng: random.Random) -> Image.Image:
    """An RGB picture of 64 x 64 pixels; position, proportions, shades and scenery vary with `rng`."""
    image, horizon = draw_scene(description, rng)
    draw_object(description, rng, image, horizon)
    return image.reduce(OVERSAMPLE)


def draw_mask(description: Description, rng: random.Random) -> Image.Image:
    """The mask of the picture that `draw` makes of the same arguments, "L": 255 where only the object is seen."""
    _, horizon = draw_scene(description, rng)
    state = rng.getstate()
    drawn = []
    for ground in ("black", "white"):  # pixels that are the same on both grounds are the object's
        rng.setstate(state)
        image = Image.new("RGB", (CANVAS, CANVAS), ground)
        draw_object(description, rng, image, horizon)
        drawn.append(image)
    return ImageChops.invert(ImageChops.difference(*drawn).convert("L")).reduce(OVERSAMPLE)


def draw_object(description: Description, rng: random.Random, image: Image.Image, horizon: int | None) -> None:
    """Draw the object onto a canvas."""
    canvas = ImageDraw.Draw(image)
    small = description.size == "small"
    radius = (rng.uniform(17, 19) if small else rng.uniform(23.5, 26.5)) * OVERSAMPLE
    shift = {"left": -1, "centre": 0, "right": 1}[description.place] * (12 if small else 6)
    x = (SIZE / 2 + shift + rng.uniform(-2, 2)) * OVERSAMPLE
    ground = (SIZE - 4 + rng.uniform(-2, 1)) * OVERSAMPLE
    y = (SIZE / 2 + rng.uniform(-3, 3)) * OVERSAMPLE if horizon is None else ground - radius
    mirror = rng.choice((-1, 1))
    tilt = rng.uniform(-0.09, 0.09)
    stretch = rng.uniform(0.95, 1.05)
    cos = math.cos(tilt)
    sin = math.sin(tilt)

    def place(points: Points) -> Points:
        return [
            (x + mirror * radius * (stretch * px * cos - py * sin), y + radius * (stretch * px * sin + py * cos))
            for px, py in points
        ]

    figure = SHAPES[description.object](lambda: rng.uniform(0.93, 1.07))
    colour = vary(COLOURS[description.colour], rng)
    dark = mix(colour, (0, 0, 0), 0.5) if description.colour != "black" else (104, 104, 112)
    for points, fill in figure.behind:
        canvas.polygon(place(points), fill=dark if isinstance(fill, str) else fill)
    cloth = draw_pattern(description.pattern, colour, x, y, radius, rng)
    draw_body(image, [place(points) for points in figure.body], dark, cloth)
    if description.accent or not figure.worn:
        paint = vary(COLOURS[description.accent], rng) if description.accent else GREY
        for points in figure.accent:
            outline = place(points)
            canvas.polygon(outline, fill=paint)
            canvas.line([*outline, outline[0]], fill=mix(paint, (0, 0, 0), 0.45), width=3)
    for points, fill in figure.details:
        canvas.polygon(place(points), fill=dark if isinstance(fill, str) else fill)


def draw_body(image: Image.Image, outlines: list[Points], dark: RGB, cloth: Image.Image) -> None:
    """Draw the body onto a picture: its dark outline, filled with the pattern of `cloth`."""
    canvas = ImageDraw.Draw(image)
    mask = Image.new("L", image.size, 0)
    cutter = ImageDraw.Draw(mask)
    for outline in outlines:
        canvas.line([*outline, *outline[:2]], fill=dark, width=10)
        cutter.polygon(outline, fill=255)
    image.paste(cloth, (0, 0), mask)
