"""The tables of the tiny Stable Diffusion's card, from ``results.json``; and its floors, hit or missed."""

from __future__ import annotations

from training.measuring import about_twelve, head, row, two

# What the model was to reach. evaluate.py measures it; none is lowered here without a word in the card.
FLOORS = {
    "open prompts: distance over seeds, as a share of that between prompts": 0.5,
    "names: the same": 0.25,
    "style: share of the classifier's own accuracy": 0.8,
    "names: top-1, share of the artists'": 0.85,
    "names: top-5, share of the artists'": 0.85,
    "small things: top-5, share of the artists'": 0.85,
    "open prompts: right answers": 0.8,
    "open prompts: at least five different right names in 16 seeds, share of prompts": 1.0,
    "left-out grounds: ground as said": 0.9,
    "left-out grounds: thing among the five nearest names": 0.7,
    "left-out pairs: both found": 0.5,
    "memory: share of copies, below": 1.0,
}
DIFFERENT = 5
OTHER = "another artist's"


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def reached(r: dict) -> dict[str, float]:
    """The figure of every floor, in the same order."""
    seeds, names, grounds = r["seeds"], r["names_found"], r["composition"]["ground"]["generated"]
    between = seeds["between prompts"]["generated"]
    opened = list(r["open"]["generated"].values())

    def of_real(kind: str, k: int) -> float:
        return names[kind]["generated"][k] / max(names[kind]["real"][k], 1e-9)

    copies = [r["memory"][kind]["copies"] for kind in ("world", "taught", "left out")]
    figures = (
        seeds["open"]["generated"] / between,
        seeds["named"]["generated"] / between,
        r["styles"]["taught"]["generated"] / r["styles"]["left out"]["real"],
        of_real("all", 0),
        of_real("all", 1),
        of_real("small", 1),
        mean([right for right, _ in opened]),
        mean([float(different >= DIFFERENT) for _, different in opened]),
        grounds["as said"],
        grounds["thing"][1],
        r["pairs"]["generated"]["both"],
        mean(copies),
    )
    return dict(zip(FLOORS, (round(figure, 3) for figure in figures), strict=True))


def is_hit(floor: str, figure: float) -> bool:
    """The last one is a ceiling."""
    return figure < FLOORS[floor] if floor.startswith("memory") else figure >= FLOORS[floor]


def floors(r: dict) -> list[str]:
    """Hit or missed, floor by floor."""
    return [
        *head("floor", "set", "reached", ""),
        *(
            row(name, f"{FLOORS[name]:.2f}", f"{figure:.3f}", "hit" if is_hit(name, figure) else "**missed**")
            for name, figure in reached(r).items()
        ),
    ]  # fmt: skip


def seeds(r: dict) -> list[str]:
    """Question 1."""
    kinds = {
        "open": "open prompts",
        "named": "a thing without a style",
        "styled": "a thing with a style",
        "between prompts": "between prompts",
    }
    former = (r["former"] or {}).get("seeds", {})
    return [
        *head("1. seeds: mean pixel distance over 8 seeds", "generated", "real artwork", "former model"),
        *(
            row(label, *(f"{x:.3f}" if x is not None else "–" for x in (
                r["seeds"][kind]["generated"], r["seeds"][kind].get("real"), former.get(kind, {}).get("generated"),
            )))
            for kind, label in kinds.items()
        ),
    ]  # fmt: skip


def styles(r: dict) -> list[str]:
    """Question 2, and how far apart the words are."""
    kinds = {"taught": "taught drawings", "left out": "drawings left out"}
    table = head("2. style: the artist, by a classifier", "generated", "real artwork", "through the autoencoder", "chance")  # fmt: skip
    for kind, label in kinds.items():
        scores = (r["styles"][kind].get(way) for way in ("generated", "real", "through the autoencoder"))  # fmt: skip
        cells = ("–" if score is None else f"{score:.2f}" for score in scores)
        table.append(row(label, *cells, f"{1 / len(r['artists']):.2f}"))
    artist = {word: name for name, word in r["artists"].items()}
    table += head("style word", "drawn by", "nearest other word", "its distance", "mean distance")
    for word, others in r["style_words"].items():
        near = min(others, key=others.get)
        table.append(row(word, artist[word], near, f"{others[near]:.2f}", f"{mean(list(others.values())):.2f}"))  # fmt: skip
    return [
        *table,
        "",
        "Distances of words: between the 77 rows of the same thing with one word and with the other, as a share of the "
        "mean distance between two things' rows.",
    ]


def names(r: dict) -> list[str]:
    """Question 3."""
    kinds = {
        "world": "things without a style, one seed",
        "named": "things without a style, 8 seeds",
        "taught": "things with a style",
        "all": "**all of these**",
        "left out": "things with a style, drawing left out",
        "shape": "coloured shapes never drawn",
        "small": "small things at an edge, enlarged",
    }
    table = head(f"3. names: nearest of {r['all_names']}, top-1 / top-5", "generated", "real artwork", "share")  # fmt: skip
    for kind, label in kinds.items():
        made, real = (r["names_found"][kind][way] for way in ("generated", "real"))
        table.append(row(label, two(made), two(real), two([a / max(b, 1e-9) for a, b in zip(made, real, strict=True)])))  # fmt: skip
    if r["former"]:
        made, real = (r["former"]["names_found"][way] for way in ("generated", "real"))
        table.append(row("former model, its own names and artist", two(made), two(real), two([a / b for a, b in zip(made, real, strict=True)])))  # fmt: skip
    chance = 1 / r["all_names"]
    return [*table, row("chance", f"{chance:.4f} / {5 * chance:.4f}", "", "")]


def open_prompts(r: dict) -> list[str]:
    """Question 4."""
    ways = [r["open"]["generated"], r["open"]["real"], (r["former"] or {}).get("open")]
    table = head("4. open prompts, 16 seeds: right, different right names", "generated", "real artwork", "former model")  # fmt: skip

    def cell(right: float, different: float) -> str:
        return f"{right:.2f}, {different:g}"

    for asked in ways[0]:
        table.append(row(asked, *(cell(*way[asked]) if way else "–" for way in ways)))
    means = (cell(*(round(mean(list(column)), 2) for column in zip(*way.values(), strict=True))) if way else "–" for way in ways)  # fmt: skip
    return [*table, row("**mean**", *means)]


def composition(r: dict) -> list[str]:
    """Question 5."""
    table = head("5. composition, left out of the training", "generated", "real scenes")
    grounds, places = (r["composition"][task] for task in ("ground", "place"))
    for label, ways in (("ground", grounds), ("small, at an edge", places)):
        for what, key in (("as said", "as said"), ("thing, top-1 / top-5", "thing")):
            cells = (ways[way][key] for way in ("generated", "real"))
            table.append(row(f"{label}: {what}", *(two(c) if isinstance(c, list) else f"{c:.2f}" for c in cells)))  # fmt: skip
    for key in r["pairs"]["generated"]:
        label = "two things: both found, as said" if key == "both" else f"two things: {key} found"
        table.append(row(label, *(f"{r['pairs'][way][key]:.2f}" for way in ("generated", "real"))))
    return table


def memory(r: dict) -> list[str]:
    """Question 6."""
    labels = {
        "open": "open prompts",
        "world": "things without a style",
        "taught": "things with a style",
        "left out": "things with a style, drawing left out",
        "real, left out": "real drawings that were left out",
        "real, taught, through the autoencoder": "taught drawings through the autoencoder",
    }
    lines = [(label, r["memory"][kind]) for kind, label in labels.items()]
    if r["former"]:
        lines.append(("former model, its own names", r["former"]["memory"]["own"]))
    return [
        *head("6. memory: distance, median", "nearest taught drawing", "same thing by another artist", "copies"),
        *(
            row(label, f"{found['nearest']:.3f}", f"{found[OTHER]:.3f}", f"{100 * found['copies']:.0f} %")
            for label, found in lines
        ),
        "",
        "Mean pixel difference at 32 x 32. A copy is less than half as far from its nearest taught drawing as from the "
        "nearest drawing of that thing by another artist. Some artists draw so much alike that real drawings count too.",
    ]  # fmt: skip


def precision(r: dict) -> list[str]:
    """Question 7."""
    table = head("7. precision / recall (Kynkäänniemi et al., 2019), k = 3", "")
    table += [row(kind, two(pair)) for kind, pair in r["precision_recall"].items()]
    if r["former"]:
        table.append(row("former model, its own names", two(r["former"]["precision_recall"])))
    return [
        *table,
        "",
        f"In the shipped CLIP's image space; reference: {r['left_out_drawings']} real drawings that were left out. Where noise "
        "has a high precision, precision says little: this CLIP never saw noise, and few points lie far apart in its space.",
    ]


def speed(r: dict) -> list[str]:
    """The clock, and bytes."""
    times = ", ".join(f"{label} {s:.1f} s" for label, s in r["speed"]["seconds"].items())
    return [
        "",
        f"Speed where and when it was measured ({r['speed']['threads']} threads, {r['speed']['device']}): {times}. "
        f"All files together: {sum(r['bytes'].values()) / 1e6:.1f} MB.",
    ]


def curve(r: dict) -> list[str]:
    """The U-Net's training."""
    lines = [line for line in r["curve"].get("U-Net", []) if "loss" in line]
    if not lines:
        return []
    return [
        "",
        "The U-Net's training curve: squared error of v by noise level, from little noise to much.",
        *head("minutes", "steps", "little", "less", "more", "much"),
        *(
            row(f"{line['minutes']:.1f}", line["step"], *(f"{loss:.3f}" for loss in line["loss"]))
            for line in about_twelve(lines)
        ),
    ]


def tables(r: dict) -> str:
    """All of it, in Markdown."""
    lines = [
        f"Measured by `training/diffusion/evaluate.py` on the weights with SHA-256 `{r['sha256'][:16]}…` (U-Net, then VAE) "
        f"and the CLIP with `{r['clip_sha256'][:16]}…`. {len(r['names'])} things in {r['drawings']} drawings taught, "
        f"{r['left_out_drawings']} drawings left out. {sum(r['pictures'].values())} pictures, {r['steps']} steps, "
        f"guidance {r['guidance_scale']:g}.",
    ]  # fmt: skip
    for part in (floors, seeds, styles, names, open_prompts, composition, memory, precision, speed, curve):  # fmt: skip
        lines += part(r)
    return "\n".join(lines)
