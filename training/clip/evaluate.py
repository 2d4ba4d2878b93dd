"""Measure the shipped file and write its card: ``python evaluate.py``.

Every figure is computed from ``helpers/models/emoji`` as it lies on disk, and stands beside its controls:
chance, plain pixels, and the same architecture with random weights. Results go to ``results.json`` (with the
weights' SHA-256) and, as tables, between the markers of ``README.md`` in the same folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import CLIPModel, CLIPTokenizer

from training.artwork.build import HELD_OUT_STYLES, OUTPUT, SIZE, TRAIN_STYLES
from training.clip.data import COLOURS
from training.clip.model import SHIPPED, configuration
from training.clip.train import POSITIONS, with_article
from training.clip.words import CATEGORIES, UNSEEN, UNTAUGHT, families

LOG = OUTPUT.parent / "log.jsonl"


class Tower:
    """A CLIPModel and its tokenizer, giving unit vectors."""

    def __init__(self, model: CLIPModel) -> None:
        self.model = model.eval()
        self.tokenizer = CLIPTokenizer.from_pretrained(SHIPPED)

    @torch.inference_mode()
    def text(self, texts: list[str]) -> torch.Tensor:
        """(n, projection)."""
        rows = []
        for start in range(0, len(texts), 256):
            part = [t.replace("’", "'").lower() for t in texts[start : start + 256]]
            tokens = self.tokenizer(
                part, padding=True, truncation=True, max_length=77, return_tensors="pt"
            )
            rows.append(
                self.model.text_projection(
                    self.model.text_model(input_ids=tokens["input_ids"]).pooler_output
                )
            )
        return F.normalize(torch.cat(rows), dim=-1)

    @torch.inference_mode()
    def image(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, projection), from pixels in -1 … 1."""
        rows = [
            self.model.visual_projection(self.model.vision_model(pixel_values=p).pooler_output)
            for p in pixels.split(256)
        ]
        return F.normalize(torch.cat(rows), dim=-1)


def place(
    drawing: torch.Tensor,
    colour=(255, 255, 255),
    scale: float = 1.0,
    at: tuple[float, float] = (0.5, 0.5),
) -> torch.Tensor:
    """An RGBA drawing (4, 64, 64) uint8 on a ground, smaller and elsewhere: (3, 64, 64) in -1 … 1."""
    drawing = drawing.float() / 255
    drawing = torch.cat([drawing[:3] * drawing[3:], drawing[3:]])
    if scale != 1.0:
        side = round(SIZE * scale)
        small = F.interpolate(drawing[None], size=(side, side), mode="bilinear", antialias=True)[0]
        drawing = torch.zeros(4, SIZE, SIZE)
        top, left = round((SIZE - side) * at[1]), round((SIZE - side) * at[0])
        drawing[:, top : top + side, left : left + side] = small
    ground = torch.tensor(colour).view(3, 1, 1) / 255
    return (drawing[:3] + (1 - drawing[3]) * ground) * 2 - 1


def top(similarity: torch.Tensor, right: torch.Tensor) -> list[float]:
    """Share of rows whose right column is first, and among the first five."""
    rank = similarity.argsort(dim=1, descending=True)[:, :5]
    hit = rank == right[:, None]
    return [round(hit[:, 0].float().mean().item(), 3), round(hit.any(1).float().mean().item(), 3)]


def retrieval(tower: Tower, data: dict, pixels: torch.Tensor) -> dict:
    """Per style: picture -> name among all names, name -> picture among the style's pictures."""
    names = tower.text([entry["name"] for entry in data["concepts"]])
    result = {}
    for number, style in enumerate(data["styles"]):
        mine = (data["style"] == number).nonzero().squeeze(1)
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
    weight = [result[style]["pictures"] for style in TRAIN_STYLES]
    result["all seen styles"] = {
        "pictures": sum(weight),
        "image_to_name": [
            round(sum(s[k] * w for s, w in zip(seen, weight, strict=True)) / sum(weight), 3)
            for k in (0, 1)
        ],
    }
    return result


def coarse(pixels: torch.Tensor) -> torch.Tensor:
    """16 x 16 pixels in a row: (n, 768)."""
    return F.interpolate(pixels, size=(16, 16), mode="area").flatten(1)


def pixel_neighbours(data: dict, pixels: torch.Tensor) -> dict:
    """The control that learns nothing: the nearest training picture, compared at 16 x 16 pixels."""
    small = coarse(pixels)
    trained = torch.tensor([data["styles"][s] in TRAIN_STYLES for s in data["style"].tolist()])
    known, concepts = small[trained], data["concept"][trained]
    result = {}
    for style in HELD_OUT_STYLES:
        mine = (data["style"] == data["styles"].index(style)).nonzero().squeeze(1)
        distance = torch.cdist(small[mine], known)
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
    styles = [data["styles"][s] for s in data["style"].tolist()]
    chosen = [i for i, c in enumerate(data["concept"].tolist()) if c in label]
    labels = torch.tensor([label[int(data["concept"][i])] for i in chosen])
    result = {}
    for style in HELD_OUT_STYLES:
        here = torch.tensor([styles[i] == style for i in chosen])
        mine = torch.tensor(chosen)[here]
        if tower is None:
            trained = torch.tensor([styles[i] in TRAIN_STYLES for i in chosen])
            known = torch.tensor(chosen)[trained]
            nearest = torch.cdist(coarse(pixels[mine]), coarse(pixels[known])).argmin(1)
            right = labels[trained][nearest] == labels[here]
        else:
            prompts = tower.text([with_article(f"a picture of a {c}") for c in CATEGORIES])
            right = (tower.image(pixels[mine]) @ prompts.T).argmax(1) == labels[here]
        result[style] = {"pictures": len(mine), "accuracy": round(right.float().mean().item(), 3)}
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
    answers = sum(len(a) for a in UNSEEN.values()) / len(UNSEEN)
    untaught = [h for w, h in zip(UNSEEN, hits, strict=True) if w in UNTAUGHT]
    return {
        "words": len(UNSEEN),
        "top1": round(sum(h[0] for h in hits) / len(hits), 3),
        "top5": round(sum(any(h) for h in hits) / len(hits), 3),
        "untaught_words": len(untaught),
        "untaught_top1": round(sum(h[0] for h in untaught) / len(untaught), 3),
        "untaught_top5": round(sum(any(h) for h in untaught) / len(untaught), 3),
        "chance_top1": round(answers / len(names), 3),
        "chance_top5": round(1 - (1 - answers / len(names)) ** 5, 3),
        "nearest": {w: names[row[0]] for w, row in zip(UNSEEN, order, strict=True)},
    }


def composition(tower: Tower, data: dict, style: str) -> dict:
    """Ground colour, size, place and binding, on a held-out artist's drawings of everyday concepts."""
    index = {entry["name"]: i for i, entry in enumerate(data["concepts"])}
    number = data["styles"].index(style)
    row = {
        int(data["concept"][i]): i for i in (data["style"] == number).nonzero().squeeze(1).tolist()
    }
    wanted = list(dict.fromkeys(m for members in CATEGORIES.values() for m in members[:3]))
    items = [(m, data["pictures"][row[index[m]]]) for m in wanted if m in index and index[m] in row]

    def share(pixels: list[torch.Tensor], prompts: list[list[str]], right: list[int]) -> dict:
        """Every picture has its own prompts; the right one must be nearest."""
        image = tower.image(torch.stack(pixels))
        text = tower.text([with_article(p) for row in prompts for p in row]).view(
            len(prompts), -1, image.shape[1]
        )
        choice = (text @ image.unsqueeze(-1)).squeeze(-1).argmax(1)
        good = int((choice == torch.tensor(right)).sum())
        return {"right": good, "tried": len(right), "chance": round(1 / len(prompts[0]), 3)}

    colours = [(c, name, rgb) for c, (name, rgb) in enumerate(COLOURS)]
    result = {}
    tasks = [
        (d, [f"a {m} on a {n} background" for _, n, _ in colours], c, rgb)
        for m, d in items
        for c, _, rgb in colours
    ]
    result["ground colour"] = share(
        [place(d, rgb, 0.9) for d, _, _, rgb in tasks], [t[1] for t in tasks], [t[2] for t in tasks]
    )
    sizes = [
        (place(d, scale=s), [f"a small {m}", f"a large {m}"], k)
        for m, d in items
        for k, s in enumerate((0.45, 1.0))
    ]
    result["small or large"] = share(
        [t[0] for t in sizes], [t[1] for t in sizes], [t[2] for t in sizes]
    )
    spots = ((0.0, 0.5), (1.0, 0.5), (0.5, 0.0), (0.5, 1.0))
    places = [
        (place(d, scale=0.5, at=spot), [f"a {m} {p}" for p in POSITIONS], k)
        for m, d in items
        for k, spot in enumerate(spots)
    ]
    result["left, right, top or bottom"] = share(
        [t[0] for t in places], [t[1] for t in places], [t[2] for t in places]
    )
    bound = []
    grounds = {name: rgb for _, name, rgb in colours}
    for shape in ("heart", "circle", "square"):
        shades = [n for n in grounds if index.get(f"{n} {shape}") in row]
        for a in shades:
            for b in shades:
                if a != b:
                    drawing = data["pictures"][row[index[f"{a} {shape}"]]]
                    said = [
                        f"a {a} {shape} on a {b} background",
                        f"a {b} {shape} on a {a} background",
                    ]
                    bound.append((place(drawing, grounds[b], 0.8), said, 0))
    if bound:
        result["binding: red heart on blue, or blue heart on red"] = share(
            [t[0] for t in bound], [t[1] for t in bound], [t[2] for t in bound]
        )
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
        mine = (data["style"] == data["styles"].index(style)).nonzero().squeeze(1)
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


def measure() -> dict:
    """Everything, for the shipped model and its controls."""
    data = torch.load(OUTPUT)
    names = [entry["name"].replace("’", "'") for entry in data["concepts"]]
    for entry, name in zip(data["concepts"], names, strict=True):
        entry["name"] = name
    drawings = data["pictures"].float() / 255
    pixels = (drawings[:, :3] * drawings[:, 3:] + 1 - drawings[:, 3:]) * 2 - 1
    trained = Tower(CLIPModel.from_pretrained(SHIPPED).float())
    torch.manual_seed(0)
    untrained = Tower(CLIPModel(configuration()))
    towers = {"trained": trained, "untrained": untrained}
    result = {
        "sha256": hashlib.sha256((SHIPPED / "model.safetensors").read_bytes()).hexdigest(),
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
    }
    result["unseen_words"]["untrained"].pop("nearest")
    if LOG.exists():
        result["curve"] = [
            json.loads(line) for line in LOG.read_text(encoding="utf-8").splitlines()
        ]
    elif (SHIPPED / "results.json").exists():
        result["curve"] = json.loads((SHIPPED / "results.json").read_text(encoding="utf-8")).get(
            "curve", []
        )
    return result


def two(pair: list[float] | None) -> str:
    """``.35 / .58``"""
    return "–" if pair is None else " / ".join(f"{x:.2f}" for x in pair)


def tables(r: dict) -> str:
    """The card's tables, in Markdown."""
    trained, untrained, plain = (
        r["retrieval"]["trained"],
        r["retrieval"]["untrained"],
        r["plain_pixels"],
    )
    top1, top5 = r["chance"]["top1"], r["chance"]["top5"]
    lines = [
        f"Measured by `training/evaluate.py` on the weights with SHA-256 `{r['sha256'][:16]}…`; {r['concepts']} concepts.",
        "Cells are top-1 / top-5: the share whose right answer came first, or among the first five. *Different* counts drawings "
        "that are not the same as another of that artist under another name: no model can tell those apart. By chance, "
        f"picture → name would be {top1:.4f} / {top5:.4f}; the last column is the chance of name → picture.",
        "",
        "| artist | pictures (different) | picture → name | plain pixels | untrained | name → picture | untrained | chance |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for style in (*TRAIN_STYLES, "all seen styles", *HELD_OUT_STYLES):
        label = f"**{style}** (never trained on)" if style in HELD_OUT_STYLES else style
        row, other = trained[style], untrained[style]
        pixel = two(plain[style]["image_to_name"]) if style in plain else "–"
        different = f" ({row['different_drawings']})" if "different_drawings" in row else ""
        chance = row.get("chance_text_to_image")
        chance = "–" if chance is None else f"{chance[0]:.4f} / {chance[1]:.4f}"
        lines.append(
            f"| {label} | {row['pictures']}{different} | {two(row['image_to_name'])} | {pixel} | {two(other['image_to_name'])} "
            f"| {two(row.get('text_to_image'))} | {two(other.get('text_to_image'))} | {chance} |"
        )
    lines += [
        "",
        "| other abilities | trained | untrained | without the model | chance |",
        "|---|---|---|---|---|",
    ]
    for style in HELD_OUT_STYLES:
        a, b, c = (r["zero_shot"][k][style] for k in ("trained", "untrained", "plain_pixels"))
        lines.append(
            f"| 24 everyday categories, {a['pictures']} pictures by {style} | {a['accuracy']:.2f} | {b['accuracy']:.2f} "
            f"| plain pixels {c['accuracy']:.2f} | {1 / len(CATEGORIES):.2f} |"
        )
    a, b = r["unseen_words"]["trained"], r["unseen_words"]["untrained"]
    for count, prefix, what in (
        ("words", "", "words of no caption"),
        ("untaught_words", "untaught_", "of these words, those of no lesson either"),
    ):
        lines.append(
            f"| {a[count]} {what}, top-1 / top-5 | {two([a[prefix + 'top1'], a[prefix + 'top5']])} "
            f"| {two([b[prefix + 'top1'], b[prefix + 'top5']])} | – | {a['chance_top1']:.3f} / {a['chance_top5']:.3f} |"
        )
    for task, a in r["composition"]["trained"].items():
        b = r["composition"]["untrained"][task]
        lines.append(
            f"| {task} (noto-v1) | {a['right']} of {a['tried']} | {b['right']} of {b['tried']} | – | {a['chance']:.2f} |"
        )
    for task, a in r["picture_analogies"]["trained"].items():
        b = r["picture_analogies"]["untrained"][task]
        lines.append(
            f"| {task}, nothing excluded | {a['right']} of {a['tried']} | {b['right']} of {b['tried']} "
            f"| no arithmetic {a['no_arithmetic']} of {a['tried']} | {a['chance']:.4f} |"
        )
    lines += [
        "",
        "Analogies among all names (`text_embeds`, normalised). *Excluded*: the query's own words may not be the answer. "
        "*No arithmetic*: simply the nearest other name to the first word.",
        "",
        "| family | tried | trained: excluded / kept / no arithmetic | untrained: excluded / kept / no arithmetic |",
        "|---|---|---|---|",
    ]
    for family, a in r["analogies"]["trained"].items():
        b = r["analogies"]["untrained"][family]
        lines.append(
            f"| {family} | {a['tried']} | {a['excluded']} / {a['kept']} / {a['no_arithmetic']} | {b['excluded']} / {b['kept']} / {b['no_arithmetic']} |"
        )
    if r.get("curve"):
        lines += [
            "",
            "The training curve (picture → name, top-1 / top-5):",
            "",
            "| minutes | steps | noto (seen) | noto-v1 | openmoji |",
            "|---|---|---|---|---|",
        ]
        curve = [line for line in r["curve"] if line["step"] > 200]
        stride = max(1, len(curve) // 12)
        for line in curve[(len(curve) - 1) % stride :: stride]:
            lines.append(
                f"| {line['minutes']:.0f} | {line['step']} | "
                + " | ".join(two(line[s]) for s in ("noto", "noto-v1", "openmoji"))
                + " |"
            )
    return "\n".join(lines)


def write_card(table: str, card: Path) -> None:
    """Put the tables between the card's markers."""
    text = card.read_text(encoding="utf-8")
    before, rest = text.split("<!-- table -->", 1)
    after = rest.split("<!-- /table -->", 1)[1]
    card.write_text(f"{before}<!-- table -->\n{table}\n<!-- /table -->{after}", encoding="utf-8")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dry", action="store_true", help="print the tables, write nothing")
    arguments = parser.parse_args()
    if not OUTPUT.exists():
        raise SystemExit("No pictures yet. Run `npm ci && python data.py` in this folder first.")
    result = measure()
    print(tables(result))
    if not arguments.dry:
        (SHIPPED / "results.json").write_text(
            json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        write_card(tables(result), SHIPPED / "README.md")


if __name__ == "__main__":
    main()
