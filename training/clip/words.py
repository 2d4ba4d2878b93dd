"""What the model is asked: words it was never trained on, everyday categories, families of analogies.

Training leaves every word of ``UNSEEN`` out of captions and keywords, and those of ``UNTAUGHT`` out of the
teacher's lessons on single words too; measuring asks for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import permutations

# word -> names that count as right. No caption, name or keyword of the training holds the word, its plural or a verb of it.
UNSEEN: dict[str, tuple[str, ...]] = {
    "canine": ("dog", "dog face", "poodle", "guide dog", "service dog", "wolf"),
    "hound": ("dog", "dog face", "poodle", "guide dog"),
    "feline": ("cat", "cat face", "black cat", "tiger", "leopard", "lion"),
    "tabby": ("cat", "cat face", "black cat"),
    "serpent": ("snake",),
    "viper": ("snake",),
    "stallion": ("horse", "horse face", "horse racing"),
    "mare": ("horse", "horse face", "horse racing"),
    "piglet": ("pig", "pig face", "pig nose", "boar"),
    "cattle": ("cow", "cow face", "ox", "water buffalo"),
    "bovine": ("cow", "cow face", "ox", "water buffalo", "bison"),
    "rodent": ("mouse", "mouse face", "rat", "hamster", "chipmunk", "beaver"),
    "hen": ("chicken", "rooster", "hatching chick", "baby chick"),
    "raven": ("black bird", "bird"),
    "crow": ("black bird", "bird"),
    "falcon": ("eagle", "bird"),
    "tuna": ("fish", "sushi", "tropical fish"),
    "trout": ("fish", "tropical fish"),
    "prawn": ("shrimp", "fried shrimp", "lobster"),
    "wasp": ("honeybee", "ant", "fly"),
    "moth": ("butterfly", "fly", "bug"),
    "sedan": ("automobile", "oncoming automobile", "sport utility vehicle", "taxi"),
    "aircraft": ("airplane", "small airplane", "airplane departure", "airplane arrival", "helicopter"),
    "airliner": ("airplane", "small airplane", "airplane departure", "airplane arrival"),
    "yacht": ("sailboat", "motor boat", "passenger ship", "speedboat"),
    "railroad": ("locomotive", "railway track", "railway car", "train", "high-speed train", "mountain railway"),
    "motorbike": ("motorcycle", "motor scooter", "racing car"),
    "spacecraft": ("rocket", "flying saucer", "satellite"),
    "physician": ("health worker", "man health worker", "woman health worker", "stethoscope"),
    "surgeon": ("health worker", "man health worker", "woman health worker", "stethoscope", "hospital"),
    "attorney": ("judge", "man judge", "woman judge", "balance scale"),
    "monarch": ("crown", "prince", "princess", "person with crown"),
    "infant": ("baby", "baby symbol", "baby angel", "baby bottle", "child"),
    "toddler": ("baby", "child", "baby symbol", "boy", "girl"),
    "wizard": ("mage", "man mage", "woman mage"),
    "sorcerer": ("mage", "man mage", "woman mage"),
    "jogger": ("person running", "man running", "woman running"),
    "spectacles": ("glasses", "sunglasses", "goggles"),
    "rucksack": ("backpack", "luggage", "handbag"),
    "trousers": ("jeans", "shorts"),
    "blouse": ("woman's clothes", "dress", "t-shirt", "necktie"),
    "sneakers": ("running shoe", "man's shoe", "hiking boot"),
    "sofa": ("couch and lamp",),
    "armchair": ("chair", "couch and lamp", "seat"),
    "blaze": ("fire", "heart on fire"),
    "inferno": ("fire", "volcano"),
    "blizzard": ("snowflake", "cloud with snow", "snowman", "snowman without snow"),
    "thunderstorm": ("cloud with lightning and rain", "cloud with lightning", "high voltage", "tornado", "cloud with rain"),
    "galaxy": ("milky way", "star", "ringed planet", "shooting star"),
    "lunar": ("full moon", "new moon", "crescent moon", "full moon face", "new moon face", "first quarter moon", "last quarter moon", "waxing crescent moon", "waning crescent moon", "waxing gibbous moon", "waning gibbous moon"),
    "extraterrestrial": ("alien", "alien monster", "flying saucer"),
    "phantom": ("ghost", "goblin", "vampire"),
    "noodles": ("steaming bowl", "spaghetti"),
    "loaf": ("bread", "baguette bread", "flatbread"),
    "espresso": ("hot beverage", "teacup without handle"),
    "latte": ("hot beverage", "teacup without handle", "glass of milk"),
    "lager": ("beer mug", "clinking beer mugs"),
    "whiskey": ("tumbler glass", "clinking glasses", "beer mug", "bottle with popping cork"),
    "oak": ("deciduous tree", "evergreen tree", "leafless tree", "chestnut", "wood"),
    "seaside": ("beach with umbrella", "umbrella on ground", "desert island", "water wave"),
    "cottage": ("house", "house with garden", "houses", "hut", "derelict house"),
    "palace": ("castle", "Japanese castle"),
    "fortress": ("castle", "Japanese castle"),
    "cathedral": ("church", "place of worship", "latin cross"),
    "chapel": ("church", "place of worship", "wedding"),
    "cello": ("violin", "guitar", "banjo"),
    "melodies": ("musical note", "musical notes", "musical score", "musical keyboard"),
    "smartphone": ("mobile phone", "mobile phone with arrow", "telephone", "vibration mode"),
    "parcel": ("package", "postbox", "closed mailbox with raised flag"),
    "jewel": ("gem stone", "ring", "crown"),
    "wristwatch": ("watch", "stopwatch", "timer clock", "alarm clock"),
    "grenade": ("bomb", "firecracker", "collision"),
    "explosion": ("bomb", "collision", "exploding head", "firecracker", "volcano"),
    "furious": ("enraged face", "angry face", "face with symbols on mouth", "face with steam from nose", "angry face with horns"),
    "weeping": ("crying face", "loudly crying face", "crying cat", "sad but relieved face"),
    "sobbing": ("crying face", "loudly crying face", "crying cat"),
    "terrified": ("fearful face", "face screaming in fear", "anxious face with sweat", "weary cat", "anguished face"),
    "drowsy": ("sleepy face", "sleeping face", "yawning face", "tired face", "face with bags under eyes"),
    "astonishment": ("astonished face", "hushed face", "face with open mouth", "exploding head", "flushed face"),
    "scarlet": ("red heart", "red circle", "red square", "red apple", "red envelope"),
}  # fmt: skip

# Every fourth of them: not even the teacher's lessons hold these.
UNTAUGHT = tuple(UNSEEN)[3::4]

STEMS = {"weeping": "weep", "sobbing": "sob", "jogger": "jog", "moth": "moth(?!er)", "furious": "fur(?:y|ious)"}  # fmt: skip


def forms(words: tuple[str, ...]) -> re.Pattern[str]:
    """Finds these words, their plurals and what verbs make of them."""
    stems = "|".join(STEMS.get(word, re.escape(word.removesuffix("s"))) for word in words)
    return re.compile(rf"\b(?:{stems})(?:s|es|ed|ry|(?:b|g)?(?:ing|er|ers))?\b", re.IGNORECASE)


NO_CAPTION, NO_LESSON = forms(tuple(UNSEEN)), forms(UNTAUGHT)


def is_held_out(phrase: str) -> bool:
    """Whether a caption must not use this phrase."""
    return bool(NO_CAPTION.search(phrase))


def is_untaught(word: str) -> bool:
    """Whether the teacher's lessons must not use this word."""
    return bool(NO_LESSON.search(word))


# 24 everyday categories for zero-shot classification: what the prompt says -> the concepts that belong to it.
CATEGORIES: dict[str, tuple[str, ...]] = {
    "dog": ("dog", "dog face", "poodle", "guide dog", "service dog"),
    "cat": ("cat", "cat face", "black cat"),
    "horse": ("horse", "horse face"),
    "bird": ("bird", "eagle", "dove", "parrot", "owl", "duck", "flamingo", "swan"),
    "fish": ("fish", "tropical fish", "blowfish", "shark"),
    "insect": ("ant", "honeybee", "lady beetle", "cricket", "beetle", "mosquito", "fly", "bug"),
    "flower": ("tulip", "rose", "sunflower", "hibiscus", "blossom", "cherry blossom", "bouquet", "lotus"),
    "tree": ("deciduous tree", "evergreen tree", "palm tree", "Christmas tree"),
    "fruit": ("red apple", "green apple", "pear", "banana", "grapes", "strawberry", "cherries", "peach", "lemon"),
    "vegetable": ("carrot", "broccoli", "eggplant", "cucumber", "ear of corn", "potato", "leafy green"),
    "cake": ("birthday cake", "shortcake", "cupcake", "moon cake"),
    "drink": ("beer mug", "wine glass", "cocktail glass", "tropical drink", "hot beverage", "glass of milk", "cup with straw"),
    "house": ("house", "house with garden", "houses", "derelict house"),
    "car": ("automobile", "oncoming automobile", "taxi", "oncoming taxi", "sport utility vehicle", "racing car", "police car"),
    "train": ("train", "high-speed train", "bullet train", "locomotive", "metro", "light rail", "railway car"),
    "boat": ("sailboat", "speedboat", "motor boat", "canoe", "ship", "ferry", "passenger ship"),
    "airplane": ("airplane", "small airplane", "airplane departure", "airplane arrival"),
    "clock": ("alarm clock", "mantelpiece clock", "timer clock", "three o'clock", "six o'clock", "nine-thirty"),
    "moon": ("full moon", "crescent moon", "new moon", "first quarter moon", "waning gibbous moon", "full moon face"),
    "heart": ("red heart", "blue heart", "green heart", "growing heart", "beating heart", "two hearts", "broken heart"),
    "ball": ("soccer ball", "basketball", "baseball", "tennis", "volleyball", "american football", "softball"),
    "hat": ("top hat", "woman's hat", "billed cap", "graduation cap", "military helmet"),
    "shoe": ("running shoe", "man's shoe", "high-heeled shoe", "hiking boot", "woman's boot", "flat shoe", "woman's sandal"),
    "musical instrument": ("guitar", "violin", "trumpet", "saxophone", "drum", "accordion", "banjo"),
}  # fmt: skip

COLOUR_WORDS = {
    "red": "crimson", "orange": "amber", "yellow": "golden", "green": "emerald", "blue": "azure", "purple": "violet", "black": "ebony",
}  # fmt: skip
HEARTS = ("red", "orange", "yellow", "green", "blue", "light blue", "purple", "brown", "black", "grey", "white")  # fmt: skip
FORMS = (  # of man and woman
    ("old man", "old woman"), ("man dancing", "woman dancing"), ("merman", "mermaid"),
    ("men's room", "women's room"), ("men holding hands", "women holding hands"),
    ("men wrestling", "women wrestling"), ("men with bunny ears", "women with bunny ears"),
)  # fmt: skip
COUPLES = (  # without man or woman in them
    ("prince", "princess"), ("boy", "girl"), ("ram", "ewe"), ("Santa Claus", "Mrs. Claus"), ("male sign", "female sign"),
)  # fmt: skip
FACES = ("dog", "cat", "mouse", "rabbit", "tiger", "cow", "pig", "monkey", "horse")
HOURS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")  # fmt: skip
ROLES = {
    "health worker", "student", "teacher", "judge", "farmer", "cook", "mechanic", "factory worker", "office worker",
    "scientist", "technologist", "singer", "artist", "pilot", "astronaut", "firefighter", "police officer", "detective",
    "guard", "construction worker", "supervillain", "superhero", "mage", "vampire",
}  # fmt: skip
GENDERS = (("man", "woman"), ("male", "female"), ("gentleman", "lady"), ("guy", "lady"), ("father", "mother"), ("boy", "girl"))  # fmt: skip


def families(names: list[str]) -> dict[str, list[tuple[str, str, str, str]]]:
    """Analogies ``a - b + c -> d`` over the concepts' names, family by family."""
    known = set(names)
    # what both men and women do, in the order of the names
    both = [n[4:] for n in names if n.startswith("man ") and f"woman {n[4:]}" in known]
    roles = [x for x in both if x in ROLES]
    activities = [x for x in both if x.endswith("ing")]

    def pairs(items: Iterable[str]) -> list[tuple[str, str]]:
        return list(permutations(items, 2))

    def following(items: tuple[str, ...]) -> list[tuple[str, str]]:
        return list(zip(items, (*items[1:], items[0]), strict=True))

    result = {
        f"man X − {b} + {c} → woman X": [(f"man {x}", b, c, f"woman {x}") for x in roles]
        for b, c in GENDERS
    }
    result |= {
        "forms of man and woman: merman − man + woman → mermaid": [
            (a, "man", "woman", d) for a, d in FORMS
        ],
        "couples without these words: prince − man + woman → princess": [
            (a, "man", "woman", d) for a, d in COUPLES
        ],
        "red heart − red + blue → blue heart": [
            (f"{a} heart", a, b, f"{b} heart") for a, b in pairs(HEARTS)
        ],
        "red heart − crimson + azure → blue heart": [
            (f"{a} heart", COLOUR_WORDS[a], COLOUR_WORDS[b], f"{b} heart")
            for a, b in pairs(COLOUR_WORDS)
        ],
        "red circle − circle + square → red square": [
            (f"{colour} {a}", a, b, f"{colour} {b}")
            for colour in HEARTS
            for a, b in pairs(("circle", "square"))
        ],
        "one o'clock − one + two → two o'clock": [
            (f"{a} o'clock", a, b, f"{b} o'clock") for a, b in pairs(HOURS)
        ],
        "one o'clock − two o'clock + two-thirty → one-thirty": [
            (f"{a} o'clock", f"{b} o'clock", f"{b}-thirty", f"{a}-thirty")
            for a, b in following(HOURS)
        ],
        "dog − cat + cat face → dog face": [
            (a, b, f"{b} face", f"{a} face") for a, b in following(FACES)
        ],
        "man running − running + swimming → man swimming": [
            (f"{who} {a}", a, b, f"{who} {b}")
            for who in ("man", "woman")
            for a, b in pairs(activities)
        ],
    }
    return {
        family: [row for row in rows if {row[0], row[3]} <= known]
        for family, rows in result.items()
    }
