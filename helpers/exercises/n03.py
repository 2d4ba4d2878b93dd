"""The exercises and predictions of notebook 3, in its order."""

from __future__ import annotations

from typing import Any

from ..embeddings import embed
from ..tokens import tokenize
from .kinds import Choice, Exercise

PROMPTS = ["a red heart", "a small brown dog with a blue ball"]
HEART = PROMPTS[0]


def heart_length(clip: Any) -> int:
    """How many tokens "a red heart" has, start and end included."""
    return int(tokenize(clip, HEART)["attention_mask"].sum())


# --- 2. and 3. one token, one look ---------------------------------------------------------------

REPLACED = 40  # place of the token that is replaced
HIDDEN = 2  # place of red

# --- 3. the test, mended -------------------------------------------------------------------------


def rows(clip: Any, padding: str, mask: bool) -> Any:
    """The output for both prompts."""
    return embed(clip, tokenize(clip, PROMPTS, padding=padding), attention_mask=mask)


# --- 6. padding on the left ----------------------------------------------------------------------


def on_the_left(clip: Any, fill: int) -> tuple[Any, Any]:
    """Ids and mask, (1, 77) each, with the padding before the prompt."""
    tokens = tokenize(clip, HEART)
    room = clip.max_length - heart_length(clip)
    ids = tokens["input_ids"].roll(room, dims=1)
    ids[:, :room] = fill
    return ids, tokens["attention_mask"].roll(room, dims=1)


def left(clip: Any, kind: str = "right", fill: int = 0) -> Any:
    """The output for padding on the left, with a mask of some kind."""
    ids, mask = on_the_left(clip, fill)
    return embed(clip, ids, attention_mask={"right": mask, "none": None, "turned": 1 - mask}[kind])


# --- 9. clip skip --------------------------------------------------------------------------------

FOX = "a fox"


def after_layer(clip: Any, from_end: int, norm: bool = True) -> Any:
    """Rows of "a fox", (77, d), with some layers left out: ``from_end`` 1 is the last one."""
    import torch

    with torch.no_grad():
        ids = tokenize(clip, FOX)["input_ids"].to(clip.device)
        states = clip.text_model(input_ids=ids, output_hidden_states=True).hidden_states
        return (clip.inner.final_layer_norm if norm else torch.nn.Identity())(states[-from_end])[0]


EXERCISES = [
    Exercise(
        id="3.1",
        asks="one whole number",
        right=lambda clip: clip.max_length - REPLACED,
        why="Padding is text to the model: other rows of padding look back at it. What no row of "
        "the prompt can see is whatever comes behind the prompt.",
        mistakes={
            "Its own row is not the only one. Later rows look back at it.": lambda clip: 1,
            "Not all: the rows before it may not look ahead.": lambda clip: clip.max_length,
            "You counted the rows behind it. The new token has a row of its own, too.": (
                lambda clip: clip.max_length - REPLACED - 1
            ),
            "These are the rows that stay as they were.": lambda clip: REPLACED,
            "You counted all rows of padding. Some of them stand before the new token.": (
                lambda clip: clip.max_length - heart_length(clip)
            ),
            "That would be so if padding were left out of the sums. No mask was passed.": (
                lambda clip: 0
            ),
        },
        hints=[
            "Which rows may look at the place of the new token?",
            "Or let the computer count: the cell above compares two outputs row by row.",
            "The places are counted from 0, and the last one is `clip.max_length - 1`.",
        ],
        solution=f"""\
usual = tokenize(clip, "{HEART}")["input_ids"]
changed = usual.clone()
changed[0, {REPLACED}] = tokenize(clip, "cat")["input_ids"][0, 1]  # place 0 is the start token
rows_1, rows_2 = (embed(clip, one).last_hidden_state[0] for one in (usual, changed))
answer = sum(not agree(a, b) for a, b in zip(rows_1, rows_2, strict=True))""",
    ),
    Choice(
        id="3.a",
        right="B",
        why="Padding stands behind the prompt, and the causal mask lets no row look ahead. So only "
        "padding can lose a look at padding.",
        wrong={
            "A": "Sensible: without a causal mask it would be so. Look at the first two columns.",
            "B": None,
            "C": "The length decides how many rows there are. Look at the lines without a mask.",
        },
        hints=["Where does padding stand, and which rows may look there?"],
    ),
    Exercise(
        id="3.2",
        asks="one whole number",
        right=lambda clip: clip.max_length - HIDDEN,
        why="So a mask does move rows of the prompt, once it hides a token of the prompt. The "
        "right one hides only what these rows could not see.",
        mistakes={
            "Its own row is not the only one. All rows behind it have lost a look.": (
                lambda clip: 1
            ),
            "You counted the rows behind it. Its own row has lost the look at itself, too.": (
                lambda clip: clip.max_length - HIDDEN - 1
            ),
            "You counted the padding. This mask hides a word, and words look at words.": (
                lambda clip: clip.max_length - heart_length(clip)
            ),
            "Not all: the rows before it could not look at it anyway.": (
                lambda clip: clip.max_length
            ),
            "You counted rows of the prompt. Rows of padding look at words, too.": (
                lambda clip: heart_length(clip) - HIDDEN
            ),
            "Either you counted the rows that stay as they were, or only those of the prompt "
            "behind it, heart and EOS.": lambda clip: HIDDEN,
        },
        hints=[
            "Find the column of *red* in the drawing. Which rows have a dot in it?",
            "Does that hold for rows of padding as well?",
            "`embed(clip, ids, attention_mask=mask)` takes any mask of 0 and 1.",
        ],
        solution=f"""\
tokens = tokenize(clip, "{HEART}")
hiding = tokens["attention_mask"].clone()
hiding[0, {HIDDEN}] = 0
rows_1 = embed(clip, tokens, attention_mask=True).last_hidden_state[0]
rows_2 = embed(clip, tokens, attention_mask=hiding).last_hidden_state[0]
answer = sum(not agree(a, b) for a, b in zip(rows_1, rows_2, strict=True))""",
    ),
    Choice(
        id="3.b",
        right="C",
        why="The second batch is built and never used. Such a test cannot fail, so its True says "
        "nothing.",
        wrong={
            "A": "That is what it was meant to show. Read which ids go into the second embed.",
            "B": "It compares all places, and two shapes that differ are not equal. Read which ids "
            "go into the second embed.",
            "C": None,
        },
        hints=["Follow each name from the line where it is made to the line where it is used."],
    ),
    Exercise(
        id="3.3",
        asks="the rows of both prompts, one for each place",
        right=lambda clip: rows(clip, "max_length", True).last_hidden_state,
        why="Now the shapes differ, and torch.equal says False at once. A fair test compares the "
        "places that both have, and asks how far they are apart. With the mask in both they agree: "
        "the tutorial is right there, and its test had nothing to do with it.",
        mistakes={
            "These are only as many rows for each prompt as the short batch has. Either the slip "
            "is still there, or you cut the others off. Asked for are all.": lambda clip: (
                rows(clip, "longest", True).last_hidden_state
            ),
            "These came out without the mask. The first result was made with it, and a fair test "
            "changes one thing.": lambda clip: rows(clip, "max_length", False).last_hidden_state,
            "That is the pooled output, one row for each prompt. The test compares all rows.": (
                lambda clip: rows(clip, "max_length", True).pooler_output
            ),
            "These are the ids. They have not been through the model.": (
                lambda clip: rows(clip, "max_length", True).input_ids
            ),
        },
        hints=[
            "Which ids should have gone into the second `embed`?",
            "Change that one name, and nothing else: the mask stays as it is.",
        ],
        solution="""\
answer = embed(clip, tokens_77, attention_mask=True).last_hidden_state""",
    ),
    Choice(
        id="3.c",
        right="A",
        why="Unless a checkpoint's configuration asks for it, diffusers passes no mask. So the "
        "padding rows that Stable Diffusion 1 draws from have seen the padding.",
        wrong={
            "A": None,
            "B": "Sensible: the tokenizer returns one. Look at the line where the switch is off.",
        },
        hints=["What should a switch of that name do when it is off?"],
    ),
    Exercise(
        id="3.4",
        asks="one row of numbers",
        right=lambda clip: left(clip).pooler_output,
        why="No token of the prompt saw the padding, and still it is not the usual output: the "
        "words stand at other positions, and get other position rows. CLIP was trained with the "
        "text in front.",
        mistakes={
            "The padding is not hidden. Without a mask the words see it, and so they do with a "
            "mask up to the first EOS, which is last here.": (
                lambda clip: left(clip, "none").pooler_output
            ),
            "You filled up with the padding token. Here that is EOS, so the first one is at the "
            "very beginning. Fill up with the id of ! instead.": (
                lambda clip: left(clip, fill=clip.pad_token_id).pooler_output
            ),
            "That is the usual output, with the padding behind the prompt.": (
                lambda clip: embed(clip, HEART).pooler_output
            ),
            "The mask is the wrong way round: it hides the prompt and shows the padding.": (
                lambda clip: left(clip, "turned").pooler_output
            ),
            "These are all rows. Asked for is the pooled one.": (
                lambda clip: left(clip).last_hidden_state
            ),
            "That row is padding: EOS stood there when the prompt came first.": (
                lambda clip: left(clip).last_hidden_state[0, heart_length(clip) - 1]
            ),
            "That is the row of the last word. Asked for is the pooled one.": (
                lambda clip: left(clip).last_hidden_state[0, -2]
            ),
        },
        hints=[
            "`unpadded[0]` holds the ids of the prompt, start and EOS included. How many places "
            "are left?",
            "Two lists of equal length, ids and mask, can be added up: `[0] * 3 + [1, 2]`.",
            "`torch.tensor([...])` makes a table of one row, and `embed` takes both: ids, and "
            "`attention_mask=`.",
        ],
        solution="""\
room = clip.max_length - len(unpadded[0])
left = torch.tensor([[0] * room + unpadded[0]])
left_mask = torch.tensor([[0] * room + [1] * len(unpadded[0])])
answer = embed(clip, left, attention_mask=left_mask).pooler_output[0]""",
    ),
    Exercise(
        id="3.5",
        asks="77 rows of numbers",
        right=lambda clip: after_layer(clip, 2),
        why="A number that is shared without the name of its program can be off by one layer.",
        mistakes={
            "That is the output of a layer as it is. One more step belongs to it.": (
                lambda clip: after_layer(clip, 2, norm=False)
            ),
            "That leaves out one layer too many: you counted as diffusers does.": (
                lambda clip: after_layer(clip, 3)
            ),
            "Nothing is left out here.": lambda clip: after_layer(clip, 1),
            "That is the last entry of the list, which has not been through the final layer norm, "
            "and nothing is left out.": lambda clip: after_layer(clip, 1, norm=False),
            "That is one row. Asked for are all of them.": (
                lambda clip: embed(clip, FOX).pooler_output
            ),
        },
        hints=[
            "Find the line of that program's number in the table. How many layers are left out?",
            "`text_model(..., output_hidden_states=True)` gives the list; its last entry is what "
            "comes out of the last layer.",
            "The function `skip` shows what has to be done with an entry of the list.",
        ],
        solution=f"""\
ids = tokenize(clip, "{FOX}")["input_ids"].to(clip.device)
states = clip.text_model(input_ids=ids, output_hidden_states=True).hidden_states
answer = clip.inner.final_layer_norm(states[-2])[0]""",
    ),
    Choice(
        id="3.d",
        right="B",
        why="Both are cut in the same way, and for the negative prompt nobody says so.",
        wrong={
            "A": "Sensible, as the same thing happens to both. Look at the last count.",
            "B": None,
            "C": "It does tell, in one of the two cases. Look at the counts.",
        },
        hints=["Which of the two do people look at more closely?"],
    ),
    Exercise(
        id="3.6",
        asks="one whole number",
        right=lambda clip: clip.max_length - 3,
        why="Now replace red by blue: the row of heart stays as it was. At the border the heart "
        "has no colour, which is why some programs cut at commas.",
        mistakes={
            "Then the first window is full before red comes, and both words go to the second.": (
                lambda clip: clip.max_length - 2
            ),
            "Then both words still fit into the first window.": lambda clip: clip.max_length - 4,
            "You counted one of start and end, not both. Every window has both.": (
                lambda clip: clip.max_length - 1
            ),
            "You counted all places. Every window has a start and an end.": (
                lambda clip: clip.max_length
            ),
        },
        hints=[
            "How many tokens of text does a window hold?",
            "*very* is one token, and *red* is one more.",
            "Try it: `detokenize(clip, windows(text))` prints what is in each window.",
        ],
        solution="""\
room = clip.max_length - 2  # start and end take one each
answer = room - 1  # red takes the last place of the first window""",
    ),
]
