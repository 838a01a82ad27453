"""What is learned."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import BadInput
from ..files.names import MAX_VECTORS, check_token
from ..files.reach import EVERYWHERE, Reach
from ..files.wording import flag
from .bundled import MY_CAT
from .fields import Place, Settings, required, setting

MASK_MODES = ("auto", "model", "alpha", "none")
TEMPLATE_NAMES = ("object", "style", "person")
FROM_PICTURES = "auto"  # the value of `init` that training replaces by the words that it finds


@dataclass(frozen=True)
class Bounds:
    """How much a concept of somebody else's list may have; None is as much as it likes."""

    pictures: int | None = None
    pixels: int | None = None  # of each picture
    vectors: int | None = None


@dataclass(frozen=True)
class Concept(Settings):
    """What is learned: a token, its pictures, its rows."""

    token: str = field(metadata=required(row=True, first=True, metavar='"<NAME>"', group="concept"))
    """The new word, for example "<my-cat>"; the file is named after it."""

    images: tuple[str, ...] = setting((MY_CAT,), place=Place(), row=True, first=True, metavar="DIR")
    """Pictures: a folder (a text file beside a picture, cat.txt for cat.png, is its caption, and metadata.jsonl or
    metadata.csv may hold all; pictures in a subfolder called 10_NAME count 10 times), picture files or patterns such as
    "photos/*.jpg", a .jsonl file with "file_name" and "text" in each line, a parquet or arrow file, a saved dataset, or
    the hub id of a dataset; several of these too."""

    image_column: str | None = setting(None, row=True)
    """Column of the pictures in a .jsonl file, metadata file or dataset; found by its name or type by default."""

    caption_column: str | None = setting(None, row=True)
    """Column of the captions there; "text" or "caption" by default."""

    init: str = setting(FROM_PICTURES, place=Place("file:"), row=True, first=True, metavar="WORD")
    """Where the rows start: a word, a phrase (a row for each of its tokens), "random", "file:PATH", or "auto": the
    phrase that `ti-trainer suggest` finds in the pictures, as much of it as `num_vectors` has room for; that takes some
    thousand forward passes."""

    num_vectors: int | None = setting(None, low=1, high=MAX_VECTORS, first=True, row=True)
    """Rows to learn; by default as many as the phrase or the file of `init` has, and 4 where that is a single word."""

    tune: bool = setting(False, row=True)
    """The token is a word that the model knows: train its rows, and export them as "<WORD-tuned>"."""

    scene: str | None = setting(None, row=True)
    """Where the thing is in all pictures, such as "in the snow": captions from templates say so, and it is not learned
    as a part of the thing. By default `init` auto looks for it too; "" is none."""

    negative: bool = setting(False, row=True)
    """What is learned is unwanted: the file is marked as one for the negative prompt, and previews put it there."""

    captions: str = setting("auto", choices=("auto", "templates", "filename"), group="captions", row=True)
    """Where captions come from; auto takes the picture's own, else templates."""

    templates: str = setting("object", place=Place(words=TEMPLATE_NAMES), row=True, first=True)
    """Captions of pictures that have none: "object", "style", "person", or a text file in any language with {token} (or
    [name]) in each line; [filewords] there is the picture's own caption or, without one, the words of its file name."""

    add_token: bool = setting(False, row=True)
    """Put the token in front of captions that lack it: "TOKEN, caption"."""

    shuffle_tags: bool = setting(False, row=True)
    """Draw another order of a caption's comma-separated parts at each step."""

    keep_tags: int = setting(0, low=0, high=1_000, row=True)
    """That many first parts of a caption stay where they are, and are not dropped."""

    tag_dropout: float = setting(0.0, low=0, high=1, row=True)
    """Probability with which a part of a caption is left out at a step; the part with the token never is."""

    caption_dropout: float = setting(0.0, low=0, high=1, row=True)
    """Probability with which a caption is the bare token at a step; an empty one would train nothing."""

    masks: str = setting("auto", place=Place(words=MASK_MODES), row=True, group="masks and pictures of the class")
    """Which part of a picture is the subject: "auto" (cat.mask.png beside cat.png, where there is one), "model" (the
    same, and where there is none what the words of `init` change in the model's prediction), "alpha" (the picture's
    alpha channel), "none", or a folder with pictures of the same names; white is the subject."""

    alpha_color: str = setting("white", row=True)
    """What shows through transparent parts of a picture: a colour's name or #rrggbb."""

    class_images: str | None = setting(None, place=Place(), row=True)
    """Pictures of the class, such as other dogs than yours, from the same kinds of sources as `images`: they keep the
    token close to its class. Their captions are the templates, because one without the token would train nothing."""

    class_weight: float = setting(0.1, low=0, high=1_000, row=True)
    """Weight of the loss of `class_images`, where the concept's own pictures have 1."""

    reach: Reach = field(default=EVERYWHERE, repr=False)
    """What may be read for it."""

    bounds: Bounds = field(default=Bounds(), repr=False)
    """How much of it there may be."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_token(self.token, known_word=self.tune)
        if self.tune and (self.num_vectors is not None or self.init != FROM_PICTURES):
            raise BadInput(
                f"{flag('tune', True)} trains the rows that '{self.token}' has: leave out {flag('init')} and "
                f"{flag('num_vectors')}"
            )

    @property
    def seeks_words(self) -> bool:
        """Whether the words from which the rows start are to be found in the pictures."""
        return self.init == FROM_PICTURES and not self.tune

    @property
    def seeks_scene(self) -> bool:
        """Whether it is to be found where the thing is; a style is no thing, and a file of templates says it itself."""
        return self.scene is None and self.templates in ("object", "person")

    @property
    def stem(self) -> str:
        """The name without brackets, for files: "<my-cat>" -> "my-cat"."""
        return self.trigger.strip("<>")

    @property
    def trigger(self) -> str:
        """The word under which the rows are exported."""
        return f"<{self.token.strip('<>')}-tuned>" if self.tune else self.token
