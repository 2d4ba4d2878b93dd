"""The exercises and predictions of notebook 6, in its order. None of them needs the pipeline."""

from __future__ import annotations

from .kinds import Choice, Exercise
from .outcomes import larger

EXERCISES = [
    Choice(
        id="6.a",
        right="B",
        why="Rows are all that the U-Net is given, so whatever makes the same rows makes the same "
        "picture, but for rounding.",
        wrong={
            "A": "That would be so if something were drawn by lot. Seed and settings are equal.",
            "B": None,
            "C": "What else could the pipeline know of the text? See what it makes of it first.",
        },
        hints=["What does the pipeline do with a text before the U-Net is asked?"],
    ),
    Exercise(
        id="6.1",
        asks="one number",
        right=lambda clip: 0.8 * 1.0 + 0.6 * 0.2,
        why="Latents and v are two mixtures of the same picture and noise. Who has both mixtures "
        "has both; so it does not matter whether a U-Net answers with the noise or with v.",
        mistakes={
            "That is the picture. Asked for is the noise.": lambda clip: 0.6 * 1.0 - 0.8 * 0.2,
            "You forgot the roots.": lambda clip: 0.64 * 1.0 + 0.36 * 0.2,
            "A sign is wrong: put picture and noise into it, and the picture does not drop out.": (
                lambda clip: 0.8 * 1.0 - 0.6 * 0.2
            ),
            "The two factors are exchanged.": lambda clip: 0.6 * 1.0 + 0.8 * 0.2,
            "You took v for the noise. It is a mixture.": lambda clip: 0.2,
            "You took v for the picture. It is a mixture.": lambda clip: (1 - 0.6 * 0.2) / 0.8,
            "That is what the noise adds to the latent. Asked for is the noise before that.": (
                lambda clip: 0.8 * (0.8 * 1.0 + 0.6 * 0.2)
            ),
        },
        hints=[
            "There are two equations, for the latents and for v, and two unknowns.",
            "Multiply each equation so that the picture has the same factor in both.",
            "Add them: the picture drops out. And (√a)² + (√(1 − a))² is 1.",
        ],
        solution="""\
left, latent, said = 0.36, 1.0, 0.2  # a, the latent, v
answer = (1 - left) ** 0.5 * latent + left**0.5 * said""",
    ),
    Exercise(
        id="6.2",
        asks="one whole number",
        right=lambda clip: 26,
        why="So a weak img2img is also a quick one: the steps that are left out are never run.",
        mistakes={
            "These are the steps that are left out.": lambda clip: 14,
            "That is the whole way. A part of it lies behind the drawing already.": (
                lambda clip: 40
            ),
            "That is for 20 steps, as in the cell.": lambda clip: 13,
        },
        hints=[
            "The strength says how much of the way is left to go.",
            "What share of the 40 steps is that?",
        ],
        solution="""\
steps_asked, strength = 40, 0.65
answer = steps_asked - round(steps_asked * (1 - strength))""",
    ),
    Choice(
        id="6.b",
        right=larger,
        why="As a rule, the less a prompt says, the more is left to the noise. It has exceptions.",
        wrong={
            "A": "Sensible: nothing is asked for. But look at the two numbers.",
            "B": "Sensible, if the empty prompt were a prompt like any other. Look at the numbers.",
            "C": "Look at the two numbers: one is far larger than the other.",
        },
        hints=["What has to be decided by the noise if the prompt decides nothing?"],
    ),
    Exercise(
        id="6.3",
        asks="one number",
        right=lambda clip: 6.5,
        why="The same guidance goes by several numbers, so ask for the formula before you copy a "
        "scale from a paper or from another program.",
        mistakes={
            "That is the scale of diffusers itself. Compare what stands before the prompt's "
            "answer in both.": lambda clip: 7.5,
            "You went the wrong way: which of the two numbers is the larger one?": (
                lambda clip: 8.5
            ),
            "The sign: with a negative w the prompt would be led away from.": lambda clip: -6.5,
        },
        hints=[
            "Write `empty + scale * (prompt - empty)` as so much of the prompt plus so much of the "
            "empty one.",
            "Compare what stands before `empty` in both formulas.",
        ],
        solution="""\
# empty + s * (prompt - empty) = s * prompt - (s - 1) * empty
answer = 7.5 - 1""",
    ),
    Exercise(
        id="6.4",
        asks="one whole number",
        right=lambda clip: 8 * 20 * 2,
        why="The time goes into these passes. Half the steps, or no guidance, is half of them.",
        mistakes={
            "Guidance is missing: how many answers does it need in a step?": lambda clip: 8 * 20,
            "That is for one picture.": lambda clip: 20 * 2,
            "These are the calls. Each call takes many latents at once.": lambda clip: 20,
            "The steps are missing.": lambda clip: 8 * 2,
        },
        hints=[
            "What does one picture take in one step?",
            "Multiply by the steps, and by the pictures.",
        ],
        solution="""\
pictures, asked_steps, answers = 8, 20, 2  # for the prompt and for the empty prompt
answer = pictures * asked_steps * answers""",
    ),
    Choice(
        id="6.c",
        right="B",
        why="The difference of two equal answers is zero, whatever the scale.",
        wrong={
            "A": "Something is left when the difference is zero. Put it into the formula.",
            "B": None,
            "C": "To lead away, the two answers would have to differ.",
        },
        hints=["What is `away + scale * (prompt - away)` if both are the same?"],
    ),
]
