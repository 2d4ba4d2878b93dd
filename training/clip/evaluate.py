"""Measure a CLIP as it lies on disk, the shipped one by default, and write its card.

Every figure stands beside its controls: chance, plain pixels, and the same architecture with random weights.
Results go to ``results.json`` (with the weights' SHA-256) and, as tables, between the markers of ``README.md``
in the model's folder.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import CLIPModel

from training.artwork import HELD_OUT_STYLES, TRAIN_STYLES, drawn_by, load
from training.captions import POSITIONS, SPOTS, caption
from training.clip.model import SHIPPED, Tower, configuration
from training.clip.words import CATEGORIES, UNSEEN, UNTAUGHT, families
from training.drawing import COLOURS, on_ground, place, premultiplied
from training.measuring import (
    about_twelve,
    coarse,
    command_line,
    digest,
    head,
    row,
    stored,
    top,
    two,
    write,
    write_card,
)  # fmt: skip


def retrieval(tower: Tower, data: dict, pixels: torch.Tensor) -> dict:
    """Per style: picture -> name among all names, name -> picture among the style's pictures."""
    names = tower.text([entry["name"] for entry in data["concepts"]])
    result = {}
    for style in data["styles"]:
        mine = drawn_by(data, style)
        concept = data["concept"][mine]
        image = tower.image(pixels[mine])
        drawings = {data["pictures"][i].numpy().tobytes() for i in mine.tolist()}
        result[style] = {
            "pictures": len(mine),
            "different_drawings": len(drawings),
            "chance_text_to_image": [round(1 / len(mine), 4), round(5 / len(mine), 4)],
            "image_to_name": top(image @ names.T, concept),
            "text_to_image": top(names[concept] @ image.T, torch.arange(len(mine))),
        }
    seen = [result[style]["image_to_name"] for style in TRAIN_STYLES]
    weight = torch.tensor([result[style]["pictures"] for style in TRAIN_STYLES])
    mean = (torch.tensor(seen, dtype=torch.double) * weight[:, None]).sum(0) / weight.sum()
    result["all seen styles"] = {
        "pictures": int(weight.sum()),
        "image_to_name": [round(x, 3) for x in mean.tolist()],
    }
    return result


def pixel_neighbours(data: dict, pixels: torch.Tensor) -> dict:
    """The control that learns nothing: the nearest training picture, compared at 16 x 16 pixels."""
    trained = drawn_by(data, *TRAIN_STYLES)
    known, concepts = coarse(pixels[trained]), data["concept"][trained]
    result = {}
    for style in HELD_OUT_STYLES:
        mine = drawn_by(data, style)
        distance = torch.cdist(coarse(pixels[mine]), known)
        best = torch.full((len(mine), len(data["concepts"])), float("inf"))
        best.scatter_reduce_(1, concepts.expand(len(mine), -1), distance, "amin")
        result[style] = {"pictures": len(mine), "image_to_name": top(-best, data["concept"][mine])}
    return result


def members(data: dict) -> dict[int, int]:
    """Concept -> category, for the everyday categories. A member nobody draws is a mistake in the list."""
    index = {entry["name"]: i for i, entry in enumerate(data["concepts"])}
    unknown = [m for listed in CATEGORIES.values() for m in listed if m not in index]
    if unknown:
        raise ValueError(f"CATEGORIES names concepts that do not exist: {', '.join(unknown)}.")
    return {index[m]: k for k, listed in enumerate(CATEGORIES.values()) for m in listed}


def zero_shot(tower: Tower | None, data: dict, pixels: torch.Tensor) -> dict:
    """24 everyday categories, "a picture of a …"; pictures of the categories' concepts.

    Without a tower, the control: the category of the nearest training picture of these concepts, by plain pixels.
    """
    label = members(data)
    category = torch.tensor([label.get(c, -1) for c in data["concept"].tolist()])

    def asked(*styles: str) -> torch.Tensor:
        rows = drawn_by(data, *styles)
        return rows[category[rows] >= 0]

    result = {}
    for style in HELD_OUT_STYLES:
        mine = asked(style)
        if tower is None:
            known = asked(*TRAIN_STYLES)
            nearest = torch.cdist(coarse(pixels[mine]), coarse(pixels[known])).argmin(1)
            answer = category[known][nearest]
        else:
            prompts = tower.text([caption(f"a picture of a {c}") for c in CATEGORIES])
            answer = (tower.image(pixels[mine]) @ prompts.T).argmax(1)
        right = (answer == category[mine]).float().mean().item()
        result[style] = {"pictures": len(mine), "accuracy": round(right, 3)}
    return result


def unseen_words(tower: Tower, data: dict) -> dict:
    """Words no caption held -> nearest name, right when it is one of the names listed for the word."""
    names = [entry["name"] for entry in data["concepts"]]
    similarity = tower.text(list(UNSEEN)) @ tower.text(names).T
    order = similarity.argsort(dim=1, descending=True)[:, :5].tolist()
    hits = [
        [names[j] in answers for j in row]
        for row, answers in zip(order, UNSEEN.values(), strict=True)
    ]
    untaught = [h for w, h in zip(UNSEEN, hits, strict=True) if w in UNTAUGHT]
    result = {}
    for prefix, asked in (("", hits), ("untaught_", untaught)):
        result[prefix + "words"] = len(asked)
        result[prefix + "top1"] = round(sum(h[0] for h in asked) / len(asked), 3)
        result[prefix + "top5"] = round(sum(any(h) for h in asked) / len(asked), 3)
    chance = sum(len(a) for a in UNSEEN.values()) / len(UNSEEN) / len(names)
    return result | {
        "chance_top1": round(chance, 3),
        "chance_top5": round(1 - (1 - chance) ** 5, 3),
        "nearest": {w: names[row[0]] for w, row in zip(UNSEEN, order, strict=True)},
    }


def composition(tower: Tower, data: dict, style: str) -> dict:
    """Ground colour, size, place and binding, on a held-out artist's drawings of everyday concepts."""
    number = {entry["name"]: i for i, entry in enumerate(data["concepts"])}
    row_of = {int(data["concept"][i]): i for i in drawn_by(data, style).tolist()}
    drawing = {name: data["pictures"][row_of[c]] for name, c in number.items() if c in row_of}
    wanted = dict.fromkeys(m for listed in CATEGORIES.values() for m in listed[:3])
    things = [name for name in wanted if name in drawing]

    def share(tasks: list[tuple[torch.Tensor, list[str], int]]) -> dict:
        """Every picture has its own prompts; the right one must be nearest."""
        pixels, prompts, right = zip(*tasks, strict=True)
        image = tower.image(torch.stack(pixels))
        text = tower.text([caption(p) for row in prompts for p in row])
        text = text.view(len(tasks), -1, text.shape[1])
        choice = (text @ image.unsqueeze(-1)).squeeze(-1).argmax(1)
        good = int((choice == torch.tensor(right)).sum())
        return {"right": good, "tried": len(tasks), "chance": round(1 / len(prompts[0]), 3)}

    grounds = [name for name, _ in COLOURS]
    colours = range(len(COLOURS))
    result = {
        "ground colour": share(
            [
                (place(drawing[m], c, 0.9), [caption(f"a {m}", colour=k) for k in colours], c)
                for m in things
                for c in colours
            ]
        ),
        "small or large": share(
            [
                (place(drawing[m], scale=s), [f"a small {m}", f"a large {m}"], k)
                for m in things
                for k, s in enumerate((0.45, 1.0))
            ]
        ),
        "left, right, top or bottom": share(
            [
                (place(drawing[m], scale=0.5, at=spot), [f"a {m} {p}" for p in POSITIONS], k)
                for m in things
                for k, spot in enumerate(SPOTS)
            ]
        ),
    }
    bound = []
    for shape in ("heart", "circle", "square"):
        shades = [shade for shade in grounds if f"{shade} {shape}" in drawing]
        for a in shades:
            for b in shades:
                if a != b:
                    pixels = place(drawing[f"{a} {shape}"], grounds.index(b), 0.8)
                    said = [f"a {x} {shape} on a {y} background" for x, y in ((a, b), (b, a))]
                    bound.append((pixels, said, 0))
    result["binding: red heart on blue, or blue heart on red"] = share(bound)
    return result


def analogies(tower: Tower, names: list[str]) -> dict:
    """Every family, a - b + c: right with the query words excluded, with nothing excluded, and without arithmetic."""
    table = tower.text(names)
    position = {name: i for i, name in enumerate(names)}
    result = {}
    for family, rows in families(names).items():
        words = sorted({w for row in rows for w in row})
        vector = dict(zip(words, tower.text(words), strict=True))
        score = {"tried": len(rows), "excluded": 0, "kept": 0, "no_arithmetic": 0}
        for a, b, c, d in rows:
            wanted = F.normalize(vector[a] - vector[b] + vector[c], dim=-1)
            similarity, plain = table @ wanted, table @ vector[a]
            score["kept"] += int(similarity.argmax()) == position[d]
            for word in (a, b, c):
                if word in position:
                    similarity[position[word]] = plain[position[word]] = -2
            score["excluded"] += int(similarity.argmax()) == position[d]
            score["no_arithmetic"] += int(plain.argmax()) == position[d]
        result[family] = score
    return result


def picture_analogies(tower: Tower, data: dict, pixels: torch.Tensor) -> dict:
    """The same arithmetic on words, answered by pictures: the nearest drawing of one artist."""
    names = [entry["name"] for entry in data["concepts"]]
    chosen = ("man X − male + female → woman X", "red heart − red + blue → blue heart")
    result = {}
    for style in ("noto", "noto-v1"):
        mine = drawn_by(data, style)
        drawn = [names[c] for c in data["concept"][mine].tolist()]
        image = tower.image(pixels[mine])
        for family in chosen:
            rows = [r for r in families(names)[family] if r[3] in drawn]
            words = sorted({w for row in rows for w in row})
            vector = dict(zip(words, tower.text(words), strict=True)) if words else {}
            good = sum(
                drawn[int((image @ (vector[a] - vector[b] + vector[c])).argmax())] == d
                for a, b, c, d in rows
            )
            plain = 0
            for a, _, _, d in rows:
                similarity = image @ vector[a]
                if a in drawn:
                    similarity[drawn.index(a)] = -2
                plain += drawn[int(similarity.argmax())] == d
            result[f"{family}, pictures by {style}"] = {
                "tried": len(rows),
                "right": good,
                "no_arithmetic": plain,
                "chance": round(1 / len(mine), 4),
            }
    return result


@torch.inference_mode()
def measure(folder: Path = SHIPPED) -> dict:
    """Everything, for the model in a folder and its controls."""
    data = load()
    names = [entry["name"] for entry in data["concepts"]]
    pixels = on_ground(premultiplied(data["pictures"]))
    trained = Tower.frozen(CLIPModel.from_pretrained(folder))
    torch.manual_seed(0)
    towers = {"trained": trained, "untrained": Tower.frozen(CLIPModel(configuration()))}
    result = {
        "sha256": digest(folder / "model.safetensors"),
        "concepts": len(names),
        "names": names,
        "chance": {"top1": round(1 / len(names), 4), "top5": round(5 / len(names), 4)},
        "retrieval": {k: retrieval(t, data, pixels) for k, t in towers.items()},
        "plain_pixels": pixel_neighbours(data, pixels),
        "zero_shot": {
            **{k: zero_shot(t, data, pixels) for k, t in towers.items()},
            "plain_pixels": zero_shot(None, data, pixels),
        },
        "unseen_words": {k: unseen_words(t, data) for k, t in towers.items()},
        "composition": {k: composition(t, data, "noto-v1") for k, t in towers.items()},
        "analogies": {k: analogies(t, names) for k, t in towers.items()},
        "picture_analogies": {k: picture_analogies(t, data, pixels) for k, t in towers.items()},
        "curve": stored(folder).get("curve", []),
    }
    result["unseen_words"]["untrained"].pop("nearest")
    return result


def tables(r: dict) -> str:
    """The card's tables, in Markdown."""
    trained, untrained, plain = (*r["retrieval"].values(), r["plain_pixels"])
    chance = r["chance"]
    lines = [
        f"Measured by `training/clip/evaluate.py` on the weights with SHA-256 `{r['sha256'][:16]}…`; {r['concepts']} concepts.",
        "Cells are top-1 / top-5: the share whose right answer came first, or among the first five. *Different* counts drawings "
        "that are not the same as another of that artist under another name: no model can tell those apart. By chance, "
        f"picture → name would be {chance['top1']:.4f} / {chance['top5']:.4f}; the last column is the chance of name → picture.",
        *head(
            "artist", "pictures (different)", "picture → name", "plain pixels", "untrained",
            "name → picture", "untrained", "chance",
        ),
    ]  # fmt: skip
    for style in (*TRAIN_STYLES, "all seen styles", *HELD_OUT_STYLES):
        a, b = trained[style], untrained[style]
        luck = a.get("chance_text_to_image")
        lines.append(
            row(
                f"**{style}** (never trained on)" if style in HELD_OUT_STYLES else style,
                f"{a['pictures']}" + (f" ({a['different_drawings']})" if luck else ""),
                two(a["image_to_name"]),
                two(plain.get(style, {}).get("image_to_name")),
                two(b["image_to_name"]),
                two(a.get("text_to_image")),
                two(b.get("text_to_image")),
                f"{luck[0]:.4f} / {luck[1]:.4f}" if luck else "–",
            )
        )
    lines += head("other abilities", "trained", "untrained", "without the model", "chance")
    for style in HELD_OUT_STYLES:
        a, b, c = (r["zero_shot"][k][style] for k in ("trained", "untrained", "plain_pixels"))
        lines.append(
            row(
                f"24 everyday categories, {a['pictures']} pictures by {style}",
                f"{a['accuracy']:.2f}", f"{b['accuracy']:.2f}",
                f"plain pixels {c['accuracy']:.2f}", f"{1 / len(CATEGORIES):.2f}",
            )
        )  # fmt: skip
    a, b = r["unseen_words"]["trained"], r["unseen_words"]["untrained"]
    for prefix, what in (
        ("", "words of no caption"),
        ("untaught_", "of these words, those of no lesson either"),
    ):
        top_1, top_5 = prefix + "top1", prefix + "top5"
        lines.append(
            row(
                f"{a[prefix + 'words']} {what}, top-1 / top-5",
                two([a[top_1], a[top_5]]), two([b[top_1], b[top_5]]),
                "–", f"{a['chance_top1']:.3f} / {a['chance_top5']:.3f}",
            )
        )  # fmt: skip

    def of(score: dict, key: str = "right") -> str:
        return f"{score[key]} of {score['tried']}"

    for task, a in r["composition"]["trained"].items():
        b = r["composition"]["untrained"][task]
        lines.append(row(f"{task} (noto-v1)", of(a), of(b), "–", f"{a['chance']:.2f}"))
    for task, a in r["picture_analogies"]["trained"].items():
        b, plain_answer = r["picture_analogies"]["untrained"][task], of(a, "no_arithmetic")
        lines.append(
            row(
                f"{task}, nothing excluded", of(a), of(b),
                f"no arithmetic {plain_answer}", f"{a['chance']:.4f}",
            )
        )  # fmt: skip
    kinds = "excluded / kept / no arithmetic"
    lines += [
        "",
        "Analogies among all names (`text_embeds`, normalised). *Excluded*: the query's own words may not be the answer. "
        "*No arithmetic*: simply the nearest other name to the first word.",
        *head("family", "tried", f"trained: {kinds}", f"untrained: {kinds}"),
    ]
    for family, a in r["analogies"]["trained"].items():
        b = r["analogies"]["untrained"][family]
        scores = (
            " / ".join(str(s[k]) for k in ("excluded", "kept", "no_arithmetic")) for s in (a, b)
        )
        lines.append(row(family, a["tried"], *scores))
    if r.get("curve"):
        lines += ["", "The training curve (picture → name, top-1 / top-5):"]
        lines += head("minutes", "steps", "noto (seen)", "noto-v1", "openmoji")
        for line in about_twelve([line for line in r["curve"] if line["step"] > 200]):
            shares = (two(line[style]) for style in ("noto", "noto-v1", "openmoji"))
            lines.append(row(f"{line['minutes']:.0f}", line["step"], *shares))
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    arguments = command_line(__doc__, SHIPPED)
    result = measure(arguments.folder)
    print(tables(result))
    if not arguments.dry:
        write(arguments.folder, result)
        write_card(tables(result), arguments.folder)


if __name__ == "__main__":
    main()
