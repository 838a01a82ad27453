"""Words that describe what people have pictures of: nouns, colours, materials and patterns, but no names."""

from __future__ import annotations

import torch

from .vocabulary import Vocabulary, is_known_word

NOUNS = """
    animal bird cat kitten dog puppy rabbit hamster mouse horse pony cow pig sheep goat deer fox wolf bear panda koala
    monkey lion tiger leopard elephant giraffe zebra whale dolphin shark fish frog turtle lizard snake dragon dinosaur
    duck goose chicken rooster owl eagle parrot penguin butterfly bee beetle spider snail crab octopus unicorn monster
    man woman boy girl baby child face person portrait doll robot statue sculpture figurine toy teddy puppet mask
    car truck bus van train bicycle motorcycle boat ship aeroplane plane helicopter rocket tractor wagon
    house building castle tower church temple bridge barn cabin shop room kitchen garden street city village
    tree flower rose tulip sunflower plant cactus leaf mushroom grass forest mountain river lake sea beach island
    waterfall moon star sun cloud snow fire
    chair sofa couch table desk bed lamp shelf cupboard clock mirror vase bowl plate cup mug teapot kettle bottle glass
    jar can box basket candle book pencil pen bag backpack handbag suitcase umbrella key ring necklace watch crown
    hat cap helmet shirt dress skirt coat jacket sweater trousers shoe shoes boot boots sneaker sock glove scarf glasses
    phone camera computer keyboard radio television guitar piano violin drum trumpet ball skateboard kite balloon
    apple banana orange lemon strawberry cherry grapes tomato carrot pumpkin bread cake cookie pizza burger sandwich
    egg cheese soup salad coffee tea wine candy heart
"""
PICTURES = """
    painting drawing sketch cartoon illustration watercolor mosaic collage poster logo
"""
PARTS = """
    collar ribbon bow roof wheels sail stem wings horns tail ears fins badge trunk hat cap helmet scarf glasses
"""
COLOURS = """
    red orange yellow green blue purple violet pink brown black white grey gray beige golden silver turquoise dark
    bright pale colorful
"""
PATTERNS = """
    plain striped spotted dotted checkered plaid floral patterned furry fluffy hairy smooth shiny glossy transparent
    round square flat tall long short fat thin small tiny little large big old young cute
"""
MATERIALS = """
    wooden wood metal steel iron bronze brass gold stone marble clay ceramic porcelain plastic rubber leather wool
    woolen knitted cotton silk paper cardboard crystal ice
"""
# Words that may describe a thing: where a phrase has others, they are not its name. "orange" is one too.
DESCRIBING_WORDS = frozenset(f"{COLOURS} {PATTERNS} {MATERIALS}".split())
# Each once, in this order; a word may stand in two lists.
LISTED_WORDS = tuple(dict.fromkeys(f"{NOUNS} {PICTURES} {PARTS} {COLOURS} {PATTERNS} {MATERIALS}".split()))
# Words for what other things have: a model that sees a hat on birds only takes "a hat" for a bird with one. And words
# for the picture, which are true of whatever it shows.
LESSER_NAMES = frozenset(f"{PARTS} {PICTURES}".split())

IDLE = """
    the this that these those with without and from for into onto over under near behind front left right centre center
    middle one two its his her our your all any some are was were has have had not but very more most such other
    photo photos picture pictures image images photograph depiction rendition rendering close cropped background
    good nice cool weird clean dirty
"""
# Words that every caption may have and that tell nothing of what a picture shows.
IDLE_WORDS = frozenset(IDLE.split())

SHORTEST = 3  # letters of a word
END_OF_WORD = "</w>"  # how entries of CLIP's vocabularies end that are whole words or the ends of words
# Entries that were never trained keep a small norm. Those with less than TRAINED of the norm that only LONG of the
# entries exceed are left out.
TRAINED = 0.5
LONG = 0.25
MOST_WORDS = 400  # a vocabulary with more of them is asked for LISTED_WORDS only


def whole_words(vocabulary: Vocabulary) -> list[str]:
    """The entries of a vocabulary that are words of a language, in its order: letters only, SHORTEST, and trained."""
    entries = sorted((number, entry) for entry, number in vocabulary.tokenizer.get_vocab().items())
    words = {entry.removesuffix(END_OF_WORD): number for number, entry in entries if entry.endswith(END_OF_WORD)}
    words = {word: number for word, number in words.items() if word.isalpha() and len(word) >= SHORTEST}
    if not words:
        return []
    norms = vocabulary.table.detach().float()[list(words.values())].norm(dim=1).cpu()  # (words,)
    least = TRAINED * torch.quantile(norms, 1 - LONG)
    return [word for word, norm in zip(words, norms, strict=True) if norm >= least]


def candidate_words(vocabulary: Vocabulary) -> list[str]:
    """The words that are tried where nobody says which.

    Those are all of a small vocabulary but IDLE_WORDS, and of a large one the LISTED_WORDS that it knows.
    """
    words = whole_words(vocabulary)
    if 0 < len(words) <= MOST_WORDS:
        return [word for word in words if word not in IDLE_WORDS]
    return [word for word in LISTED_WORDS if is_known_word(vocabulary.tokenizer, word)]
