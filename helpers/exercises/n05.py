"""The exercises and predictions of notebook 5, in its order."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from ..arithmetic import normalize
from ..artwork import load_artwork
from ..checkpoints import load_clip
from ..embeddings import embed
from ..images import embed_images
from ..tokens import tokenize
from .compare import as_numbers
from .kinds import Choice, Exercise


@lru_cache(maxsize=1)
def emoji() -> Any:
    """The CLIP of the series."""
    return load_clip("emoji")


def seeing(clip: Any) -> Any:
    """The clip itself; as in the notebook, that of the series where it has no image model."""
    return emoji() if clip.vision_model is None or clip.image_processor is None else clip


@lru_cache(maxsize=8)
def cosines(clip: Any, texts: tuple[str, ...], names: tuple[str, ...]) -> Any:
    """Of every text with every drawing by noto-v1, (texts, drawings)."""
    art = load_artwork("noto-v1")
    words = embed(clip, tokenize(clip, list(texts), padding="longest")).text_embeds
    assert words is not None  # a CLIP with an image model has a projection
    pictures = embed_images(clip, [art[name] for name in names]).image_embeds
    return normalize(words.float()).cpu() @ normalize(pictures.float()).cpu().T


# --- 2. a pixel ----------------------------------------------------------------------------------

COLOUR = (255, 128, 0)


def prepared(clip: Any, colour: tuple[int, ...] = COLOUR, scale: float = 255) -> Any:
    """A colour as the model gets it, (3,)."""
    import torch

    processor = seeing(clip).image_processor
    mean, std = torch.tensor(processor.image_mean), torch.tensor(processor.image_std)
    return (torch.tensor(colour) / scale - mean) / std


def only_scaled(clip: Any) -> Any:
    """The colour from 0 to 1, (3,)."""
    import torch

    return torch.tensor(COLOUR) / 255


def not_divided(clip: Any) -> Any:
    """The mean subtracted, and not divided by std, (3,)."""
    import torch

    return prepared(clip) * torch.tensor(seeing(clip).image_processor.image_std)


# --- 3. the loss ---------------------------------------------------------------------------------

THREE = ((0.30, 0.25, 0.10), (0.20, 0.35, 0.30), (0.25, 0.05, 0.28))
FACTOR = 20


def scores(factor: float = FACTOR) -> Any:
    """The table of the exercise times the factor, (3, 3)."""
    import torch

    return factor * torch.tensor(THREE)


def one_way(dim: int, factor: float = FACTOR) -> Any:
    """The loss of one direction: 1 asks the pictures, 0 the captions."""
    return -scores(factor).log_softmax(dim).diagonal().mean()


def both_ways(clip: Any, factor: float = FACTOR) -> float:
    """The loss of the table."""
    return float(one_way(0, factor) + one_way(1, factor)) / 2


def mean_probability(clip: Any) -> float:
    """The mean probability of the true pairs."""
    both = (scores().softmax(dim).diagonal().mean() for dim in (0, 1))
    return float(sum(both)) / 2


def losses(clip: Any) -> list[float]:
    """The loss of every tenth drawing with its name, for the factors 1, 2, 4, ... 256."""
    tenth = tuple(list(load_artwork("noto-v1").names)[::10])
    table = cosines(seeing(clip), tenth, tenth)

    def loss(factor: float) -> float:
        both = [-(factor * table).log_softmax(dim).diagonal().mean().item() for dim in (0, 1)]
        return sum(both) / 2

    return [loss(2**power) for power in range(9)]


def best_factor(clip: Any) -> int:
    """The factor with the lowest loss."""
    found = losses(clip)
    return 2 ** found.index(min(found))


def nearest_power(clip: Any) -> int:
    """The power of two that is nearest to the learned factor."""
    return min((2**power for power in range(9)), key=lambda x: abs(x - seeing(clip).logit_scale))


# --- 4. prompts against pictures -----------------------------------------------------------------

PICTURES = (
    *("dog face", "strawberry", "red heart", "rocket"),
    *("rose", "guitar", "umbrella", "crescent moon"),
)
QUESTIONS = ("red", "yellow", "an animal", "a plant")


def asked(clip: Any) -> Any:
    """The table of the exercise, (prompts, pictures)."""
    return cosines(seeing(clip), QUESTIONS, PICTURES)


def about_places_in_questions(answer: Any, clip: Any) -> str | None:
    """What is wrong with a list for 5.6: words in it, or numbers that are no places."""
    if isinstance(answer, list | tuple) and any(isinstance(part, str) for part in answer):
        return "These are words. Give the places of the prompts, 0 to 3."
    places = as_numbers(answer)
    if places is None or places.shape != (len(PICTURES),) or places.is_complex():
        return None
    if not bool(places.isfinite().all()) or places.min() >= 0 and places.max() < len(QUESTIONS):
        return None
    return "Some of these are no places of a prompt: they go from 0 to 3."


EXERCISES = [
    Choice(
        id="5.a",
        right="B",
        why="As in text, something has to stand for the whole: there it is the end token, here a "
        "row that stands before the patches and belongs to none of them.",
        wrong={
            "A": "Nearly. One row stands for no patch; the text below names it.",
            "B": None,
            "C": "That many rows has a text. How many patches has a picture?",
        },
        hints=["In a text, one row stands for the whole of it. Which could do that for a picture?"],
    ),
    Exercise(
        id="5.1",
        asks="three numbers, for red, green and blue",
        right=prepared,
        why="Every checkpoint has its own mean and std. Take them from its image processor and "
        "never from memory.",
        mistakes={
            "The pixel goes from 0-255 to 0-1 before the mean is subtracted.": (
                lambda clip: prepared(clip, scale=1)
            ),
            "These go from 0 to 1. Normalising is missing.": only_scaled,
            "The mean was subtracted, but the result was not divided.": not_divided,
            "Blue stands first. PIL and the library put red first; OpenCV does not.": (
                lambda clip: prepared(clip, COLOUR[::-1])
            ),
            "The pixel was divided by 256. The largest value, 255, is to become 1.": (
                lambda clip: prepared(clip, scale=256)
            ),
        },
        hints=[
            "Three steps: to 0-1, minus the mean, divided by std.",
            "`mean` and `std` have three numbers each, one for each colour; tensors are worked on "
            "number by number.",
        ],
        solution="answer = (torch.tensor([255, 128, 0]) / 255 - mean) / std",
    ),
    Choice(
        id="5.b",
        right="A",
        why="Cosines lie close together, so after a softmax all captions look alike. That is why "
        "a factor is needed.",
        wrong={
            "A": None,
            "B": "That needs a larger factor. Look at the first line.",
            "C": "That needs a much larger factor. Look at the first line.",
        },
        hints=["e to the power of 0.30, of 0.25 and of 0.20: do these differ much?"],
    ),
    Exercise(
        id="5.2",
        asks="one number, a difference of two cosines",
        right=lambda clip: math.log(10) / seeing(clip).logit_scale,
        why="So little is enough. That is why cosines that look alike in a table can mean a clear "
        "answer.",
        mistakes={
            "The softmax raises e to a power, so a ratio of probabilities is no ratio of scores.": (
                lambda clip: 10 / seeing(clip).logit_scale
            ),
            "That is the lead in scores. Scores are cosines times the factor.": (
                lambda clip: math.log(10)
            ),
            "That is the logarithm to base 10. The softmax takes powers of e.": (
                lambda clip: 1 / seeing(clip).logit_scale
            ),
            "The factor stretches a lead. To get back to cosines, do the opposite.": (
                lambda clip: math.log(10) * seeing(clip).logit_scale
            ),
            "What is stored in the model is the logarithm of the factor; take the factor.": (
                lambda clip: math.log(10) / math.log(seeing(clip).logit_scale)
            ),
        },
        hints=[
            "Divide one probability by the other: the sums of the softmax drop out.",
            "What is left is e to the power of (factor times lead). When is that ten?",
            "`math.log` undoes a power of e.",
        ],
        solution="answer = math.log(10) / clip.logit_scale",
    ),
    Exercise(
        id="5.3",
        asks="one number, the loss",
        right=both_ways,
        why="This is the whole of what CLIP learns from. The rest is data and patience.",
        mistakes={
            "Only the pictures were asked. The captions are asked too, down the columns.": (
                lambda clip: float(one_way(1))
            ),
            "Only the captions were asked. The pictures are asked too, along the rows.": (
                lambda clip: float(one_way(0))
            ),
            "The factor is missing.": lambda clip: both_ways(clip, 1),
            "The losses of the pairs were added up. The loss of a batch is a mean.": (
                lambda clip: 3 * both_ways(clip)
            ),
            "Both directions were added. Take the mean of the two.": (
                lambda clip: 2 * both_ways(clip)
            ),
            "That is the mean probability of the true captions. The logarithm is missing.": (
                mean_probability
            ),
            "The mean was taken before the logarithm. Each pair has a loss of its own.": (
                lambda clip: -math.log(mean_probability(clip))
            ),
            "That is with logarithms to base 10. The loss takes the natural one.": (
                lambda clip: both_ways(clip) / math.log(10)
            ),
        },
        hints=[
            "Multiply the table by the factor first.",
            "`.log_softmax(dim=1)` makes logarithms of probabilities along the rows, `dim=0` down "
            "the columns.",
            "`.diagonal()` takes the true pairs. Mind the sign.",
        ],
        solution=f"""\
scores = {FACTOR} * three
rows = -scores.log_softmax(dim=1).diagonal().mean()
columns = -scores.log_softmax(dim=0).diagonal().mean()
answer = (rows + columns) / 2""",
    ),
    Exercise(
        id="5.4",
        asks="one whole number, a power of two",
        right=best_factor,
        why="The factor says how sure a model may be of its cosines. Powers of 2 are coarse: the "
        "best factor may lie between two of them, as the lines below tell. The order of the "
        "captions is the same for every factor.",
        mistakes={
            "That one is nearest to the learned factor. Try the others on this table.": (
                nearest_power
            ),
            "That is the learned factor. Asked for is the best one on this table.": (
                lambda clip: seeing(clip).logit_scale
            ),
            "That is the lowest loss. Asked for is the factor.": lambda clip: min(losses(clip)),
            "There the loss is highest.": lambda clip: 2 ** losses(clip).index(max(losses(clip))),
            "That is the place in the list. Asked for is the factor.": (
                lambda clip: losses(clip).index(min(losses(clip)))
            ),
        },
        hints=[
            "`contrastive_loss(tenth, factor)` gives the loss for one factor.",
            "Make a list of the factors, `[2**k for k in range(9)]`, and one of the losses.",
            "`min(factors, key=...)` takes a function by which to compare.",
        ],
        solution="""\
factors = [2**k for k in range(9)]
answer = min(factors, key=lambda factor: contrastive_loss(tenth, factor).item())""",
    ),
    Choice(
        id="5.c",
        right="A",
        why="The order of pairs means nothing. All that counts is who belongs to whom.",
        wrong={
            "A": None,
            "B": "It would, if the captions were dealt out anew. Here each keeps its picture.",
            "C": "Being sure and wrong does that. Here each picture keeps its caption.",
        },
        hints=["Draw a table of two pairs, and the same with the pairs exchanged."],
    ),
    Exercise(
        id="5.5",
        asks="one number, the lowest loss",
        right=lambda clip: (3 * math.log(3) + 2 * math.log(2)) / 6,
        why="Training cannot get below it, however long it runs: the question has no better "
        "answer.",
        mistakes={
            "That is the loss of blind guessing. This model can tell a dog from a rose.": (
                lambda clip: math.log(6)
            ),
            "That is the loss of one dog picture. Take the mean over all pictures.": (
                lambda clip: math.log(3)
            ),
            "These are the losses of all pictures, added up. Take the mean.": (
                lambda clip: 3 * math.log(3) + 2 * math.log(2)
            ),
            "The rocket is missing: its loss is nothing, but it counts in the mean.": (
                lambda clip: (3 * math.log(3) + 2 * math.log(2)) / 5
            ),
            "That is the mean over the different captions. Take it over the pictures.": (
                lambda clip: (math.log(3) + math.log(2)) / 3
            ),
            "That would be so if all captions were different.": lambda clip: 0.0,
        },
        hints=[
            "How probable can the caption of a dog picture be at most, if others read the same?",
            "Minus the logarithm of that is the loss of one picture. Then the roses, the rocket.",
            "The loss of the batch is the mean over its pictures. `math.log` is the logarithm.",
        ],
        solution="answer = (3 * math.log(3) + 2 * math.log(2) + math.log(1)) / 6",
    ),
    Exercise(
        id="5.6",
        asks="a list of whole numbers, one for each picture",
        right=lambda clip: asked(clip).argmax(0),
        why="Down a column the picture is the same, and prompts compete for it: that is "
        "classification.",
        mistakes={
            "You went along the rows: the best picture for each prompt. That is search.": (
                lambda clip: asked(clip).argmax(1)
            ),
            "These are the cosines. Asked for is which prompt has them.": (
                lambda clip: asked(clip).amax(0)
            ),
            "These are the prompts that suit each picture least.": (
                lambda clip: asked(clip).argmin(0)
            ),
            "That is one number for the whole table. Ask each column.": (
                lambda clip: int(asked(clip).argmax())
            ),
            "You counted the places from 1. The first prompt has place 0.": (
                lambda clip: asked(clip).argmax(0) + 1
            ),
        },
        says=about_places_in_questions,
        hints=[
            "In `asked`, a row is a prompt and a column a picture.",
            "`argmax` takes the dimension along which it looks.",
            "What goes through the rows, from top to bottom, is dimension zero.",
        ],
        solution="answer = asked.argmax(dim=0)",
    ),
    Choice(
        id="5.d",
        right="B",
        why="A softmax sees differences only. So nothing in the loss asks for a high cosine, and "
        "the gap may stay.",
        wrong={
            "A": "True pairs have become smaller, but so has everything they compete with.",
            "B": None,
            "C": "False pairs have become smaller, but so have the true ones.",
        },
        hints=[
            "The same number is subtracted from all scores of a row. What is left of it after "
            "the softmax?"
        ],
    ),
]
