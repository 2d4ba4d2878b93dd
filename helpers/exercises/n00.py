"""The exercises and predictions of notebook 0, in its order."""

from __future__ import annotations

from typing import Any

from ..arithmetic import analogy
from ..embeddings import embed
from ..tokens import tokenize
from .kinds import Choice, Exercise
from .outcomes import larger, smaller, third
from .rows import rows_of


def ids_of(clip: Any, text: str | list[str]) -> Any:
    """The ids of one text, (77,), or of several, (n, 77)."""
    ids = tokenize(clip, text)["input_ids"]
    return ids[0] if isinstance(text, str) else ids


def table_row(clip: Any, token_id: int) -> Any:
    """A row of the token table, (d,)."""
    return clip.inner.embeddings.token_embedding.weight[token_id]


# --- 2. tokens ---------------------------------------------------------------------------------


def pieces(clip: Any, word: str) -> int:
    """How many tokens a word takes."""
    return int(tokenize(clip, word)["attention_mask"].sum()) - 2


WORD = "photorealistic"

# --- 5. the same first rows --------------------------------------------------------------------

GROUNDS = ["a red heart on a blue background", "a red heart on a green background"]


def same_start(clip: Any) -> int:
    """How many rows the two prompts share: up to the first id that differs."""
    one, other = ids_of(clip, GROUNDS)
    return int((one != other).int().argmax())


# --- 6. the mask -------------------------------------------------------------------------------

TWO = ["wow! a cat", "a red heart on a blue background"]


def places(ids: Any) -> Any:
    """0, 1, 2, ... up to the last place."""
    return ids.new_ones(ids.shape).cumsum(-1) - 1


def first_end(clip: Any, ids: Any) -> Any:
    """The place of each row's first end token, (n, 1)."""
    return (ids == clip.eos_token_id).int().argmax(-1, keepdim=True)


def right_mask(clip: Any) -> Any:
    """1 up to and including the first end token."""
    ids = ids_of(clip, TWO)
    return (places(ids) <= first_end(clip, ids)).long()


# --- 9. a sum of rows --------------------------------------------------------------------------


def three(clip: Any) -> Any:
    """The rows of the three texts of the sum."""
    return embed(clip, ["red heart", "red", "blue"]).last_hidden_state


def plain_sum(a: Any, b: Any, c: Any) -> Any:
    """a - b + c."""
    return a - b + c


def projected_sum(clip: Any) -> Any:
    """The sum of the projected vectors; None where the checkpoint has no projection."""
    vectors = embed(clip, ["red heart", "red", "blue"]).text_embeds
    return None if vectors is None else plain_sum(*vectors)


EXERCISES = [
    Choice(
        id="0.a",
        right="B",
        why="There is no error and no summary. Libraries warn at best in a line that nobody "
        "reads, so put what matters first.",
        wrong={
            "A": "An error would be kinder. Nothing stops, and the picture is drawn all the same.",
            "B": None,
            "C": "Nothing in a tokenizer understands a text, so nothing in it can sum it up.",
        },
        hints=["Think of a form with 77 boxes for letters, and of a long name."],
    ),
    Exercise(
        id="0.1",
        asks="one whole number",
        right=lambda clip: (clip.max_length - 2) // pieces(clip, WORD),
        why="The limit is on tokens, and not on words or letters: a rare word costs several.",
        mistakes={
            "You counted all places. Start and end take two of them.": (
                lambda clip: clip.max_length // pieces(clip, WORD)
            ),
            "That would be right if the word were a single token. Look at its strip.": (
                lambda clip: clip.max_length - 2
            ),
            "You counted words, and every place. The limit is on tokens.": (
                lambda clip: clip.max_length
            ),
            "You counted letters. The limit is on tokens.": (
                lambda clip: clip.max_length // len(WORD)
            ),
            "You counted tokens. Asked for is how many whole words they make.": (
                lambda clip: (clip.max_length - 2) // pieces(clip, WORD) * pieces(clip, WORD)
            ),
        },
        hints=[
            "How many tokens does the word take? A cell above printed it.",
            "How many of the places are left for text? Start and end take one each.",
            "Divide, and leave the rest of the division out: `//` does that.",
        ],
        solution=f"""\
text_places = clip.max_length - 2  # start and end take one each
tokens_in_word = len(clip.tokenizer("{WORD}")["input_ids"]) - 2
answer = text_places // tokens_in_word""",
    ),
    Choice(
        id="0.b",
        right="C",
        why="Ids were given in the order in which pieces were learned, the most frequent first. "
        "So an id tells how common a piece was, and nothing of what it means.",
        wrong={
            "A": "That would be so if ids were sorted by meaning. Look at what was printed.",
            "B": "That would be so if ids were sorted like a dictionary. Look at what was printed.",
            "C": None,
        },
        hints=["By what could 49,408 pieces have been put in order? By frequency, for example."],
    ),
    Exercise(
        id="0.2",
        asks="one row of the table",
        right=lambda clip: table_row(clip, ids_of(clip, "heart")[1]),
        why="Looking up a row is all that happens to a word at first; it does not yet know its "
        "neighbours.",
        mistakes={
            "That is the row of the start token, which comes first in every prompt.": (
                lambda clip: table_row(clip, ids_of(clip, "heart")[0])
            ),
            "That is the row of the end token.": (
                lambda clip: table_row(clip, ids_of(clip, "heart")[2])
            ),
            "That is the row of heart inside a longer word: the mark `</w>` is missing.": (
                lambda clip: table_row(clip, clip.tokenizer.convert_tokens_to_ids("heart"))
            ),
            "That is the row's number. Asked for is what stands there.": (
                lambda clip: ids_of(clip, "heart")[1]
            ),
            "These are the rows of all places, padding too. Asked for is one.": (
                lambda clip: table_row(clip, ids_of(clip, "heart"))
            ),
            "That row has been through the layers. Asked for is what goes in.": (
                lambda clip: rows_of(clip, "heart")[1]
            ),
        },
        hints=[
            "The cell with cat does the same for another word.",
            "`tokenize(clip, ...)['input_ids'][0]` holds the ids of a text. Start is first.",
            "Use the id in square brackets after `table`.",
        ],
        solution="""\
token_id = tokenize(clip, "heart")["input_ids"][0, 1]  # place 0 is the start token
answer = table[token_id]""",
    ),
    Choice(
        id="0.c",
        right="B",
        why="A row looks at itself and at earlier rows, never ahead. Before the word that differs "
        "there is nothing different to see, behind it there is.",
        wrong={
            "A": "Only one word differs, but every row behind it has looked back at it.",
            "B": None,
            "C": "The start token stands before any word. What could it know of a cat?",
        },
        hints=["Which rows does a row read, in the drawing of section 4?"],
    ),
    Exercise(
        id="0.3",
        asks="one whole number",
        right=same_start,
        why="So whatever comes first in a prompt shapes all that follows, and not the reverse.",
        mistakes={
            "You counted words. The start token has a row, too.": (
                lambda clip: same_start(clip) - 1
            ),
            "You counted the first row that differs as well.": lambda clip: same_start(clip) + 1,
            "These are the rows that differ.": lambda clip: clip.max_length - same_start(clip),
            "One word differs, but more than one row: later rows have looked back at it.": (
                lambda clip: clip.max_length - 1
            ),
        },
        hints=[
            "Which is the first word that differs?",
            "Count the tokens before it, and do not forget the token at place 0.",
            "Or let the computer count: the cell above does it for the cat and the dog.",
        ],
        solution="""\
one, other = embed(
    clip, ["a red heart on a blue background", "a red heart on a green background"]
).last_hidden_state.float()
answer = int(((one - other).abs().amax(dim=-1) < 0.01).sum())""",
    ),
    Choice(
        id="0.d",
        right=smaller,
        why="What the words say and what the padding says are two things, and the U-Net is given "
        "both.",
        wrong={
            "A": "Sensible: padding sounds like nothing. But its rows have read the whole prompt. "
            "Look at the picture.",
            "B": "Sensible: there is far more padding than words. But does nothing of the words "
            "show? Compare the two numbers.",
            "C": "Sensible: both are there. But look at the two numbers.",
        },
        hints=[
            "How many rows are words, how many padding? And what have the latter looked back at?"
        ],
    ),
    Exercise(
        id="0.4",
        asks="a mask of two rows, with one number for each place",
        right=right_mask,
        why="By position it is right for every checkpoint, whatever it fills the places with.",
        mistakes={
            "The end token is missing, which belongs to the prompt (or, where padding is a !, the "
            "typed one). `ids != pad` goes wrong so, because padding is a token that a prompt "
            "has, too.": (lambda clip: (ids_of(clip, TWO) != clip.pad_token_id).long()),
            "You used the end of the first prompt for both. Each has its own.": (
                lambda clip: (places(ids := ids_of(clip, TWO)) <= first_end(clip, ids)[:1]).long()
            ),
            "You went on to the last end token of a row. Padding uses that token, too.": (
                lambda clip: right_mask(clip) * 0 + 1
            ),
            "It is the wrong way round: you marked the padding.": (
                lambda clip: 1 - right_mask(clip)
            ),
            "That marks the end tokens and nothing else.": (
                lambda clip: (ids_of(clip, TWO) == clip.eos_token_id).long()
            ),
            "The start token is missing. It belongs to the prompt, too.": (
                lambda clip: right_mask(clip) * (places(ids_of(clip, TWO)) > 0)
            ),
        },
        hints=[
            "Where does each row's first end token stand? `ids == clip.eos_token_id` is true at "
            "every one, and `argmax(dim=-1, keepdim=True)` gives the place of the first of equal "
            "numbers. (Turn true and false into numbers first: `.int()`.)",
            "`torch.arange(ids.shape[1])` counts the places: 0, 1, 2, ...",
            "Compare these places with that of the first end. Is it smaller, or smaller or equal?",
        ],
        solution="""\
first_end = (ids == clip.eos_token_id).int().argmax(dim=-1, keepdim=True)
answer = torch.arange(ids.shape[1]) <= first_end""",
    ),
    Exercise(
        id="0.5",
        asks="one row of numbers",
        right=lambda clip: embed(clip, "a fox").pooler_output[0],
        why="Pooled means picked, and not averaged: one row stands for the whole prompt, as it "
        "comes last and has looked back at everything.",
        mistakes={
            "That is the mean of all rows. CLIP takes no mean.": (
                lambda clip: rows_of(clip, "a fox").float().mean(0)
            ),
            "That is the mean of the rows of start, words and end. CLIP takes no mean.": (
                lambda clip: rows_of(clip, "a fox")[:4].float().mean(0)
            ),
            "That is the last row, a row of padding.": lambda clip: rows_of(clip, "a fox")[-1],
            "That is the row of the start token, which is the same for every prompt.": (
                lambda clip: rows_of(clip, "a fox")[0]
            ),
            "That is the row of the last word. One more row has read all of the prompt.": (
                lambda clip: rows_of(clip, "a fox")[2]
            ),
            "That is the first row of padding, one too far.": (
                lambda clip: rows_of(clip, "a fox")[4]
            ),
            "That is the projected output, text_embeds: one matrix too far.": (
                lambda clip: embed(clip, "a fox").text_embeds
            ),
            "These are all rows. One of them is asked for.": lambda clip: rows_of(clip, "a fox"),
        },
        hints=[
            "Which row has looked back at the whole prompt, and is no padding?",
            "It is the row of the first end token. At which place does that stand?",
            "Place 0 is the start; then count the words.",
        ],
        solution="""\
end = int((outputs.input_ids[0] == clip.eos_token_id).int().argmax())  # the first end token
answer = outputs.last_hidden_state[0, end]""",
    ),
    Choice(
        id="0.e",
        right=third,
        why="A sum that is solved without any learning proves no learning. Only a control tells: "
        "always ask what an untrained model would say.",
        wrong={
            "A": "Sensible: it knows nothing of men and women. But look at what was printed, and "
            "at the words that stand on both sides.",
            "B": "Sensible, as a guess in the middle. Look at what was printed.",
            "C": "Here it is otherwise. Look at what was printed.",
        },
        hints=[
            "Write one of the sums in words. Which words occur in the question and in the answer?"
        ],
    ),
    Exercise(
        id="0.6",
        asks="the rows of one prompt, with the same shape as those of red heart",
        right=lambda clip: plain_sum(*three(clip)),
        why="Nothing has to be looked up: whatever you do to the rows, you can draw.",
        mistakes={
            "The signs are the wrong way round: blue was taken away and red added.": (
                lambda clip: plain_sum(*three(clip)[[0, 2, 1]])
            ),
            "Blue was added, but red was not taken away.": (
                lambda clip: three(clip)[0] + three(clip)[2]
            ),
            "Red was taken away, but blue was not added.": (
                lambda clip: three(clip)[0] - three(clip)[1]
            ),
            "The helper analogy brings every row to length 1 first, and the U-Net is used to "
            "longer ones. Use plain minus and plus.": lambda clip: analogy(*three(clip)),
            "These are pooled vectors. The U-Net reads all rows: last_hidden_state.": (
                lambda clip: plain_sum(*embed(clip, ["red heart", "red", "blue"]).pooler_output)
            ),
            "These are projected vectors. The U-Net reads all rows: last_hidden_state.": (
                projected_sum
            ),
            "That is a text. Asked for are its rows, made by a sum.": lambda clip: "blue heart",
            "These are the rows of blue heart itself. Make them by a sum.": (
                lambda clip: rows_of(clip, "blue heart")
            ),
        },
        hints=[
            "`embed` takes a list of three texts, and `last_hidden_state` then holds three stacks.",
            "The cell above unpacks two of them, fox and frog, in one line.",
            "Tensors know minus and plus.",
        ],
        solution="""\
red_heart, red, blue = embed(clip, ["red heart", "red", "blue"]).last_hidden_state
answer = red_heart - red + blue""",
    ),
    Choice(
        id="0.f",
        right=larger,
        why="How much the seed decides depends on how much the prompt leaves open, and on how many "
        "pictures a model knows for it.",
        wrong={
            "A": "Sensible: large models know many foxes. Look at how alike these are.",
            "B": "Sensible: another prompt, another thing. But look at the two numbers.",
            "C": "Look at the two numbers: here one is far larger than the other.",
        },
        hints=["How much do the two words leave open? And how much does another prompt say?"],
    ),
]
