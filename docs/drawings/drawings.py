"""The drawings, one function each. ``make.py`` writes them into files."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, radians, sin

from content import angle, clip, id_of, merge_tree, pieces, rows_in, tokens
from pen import (
    BIG,
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    SMALL,
    TEXT,
    VERMILION,
    WHITE,
    WIDTH,
    YELLOW,
    Drawing,
    text_width,
)  # fmt: skip

DRAWINGS: dict[str, Callable[[], Drawing]] = {}


def drawing(name: str, *arguments):
    """Put a function into the table of drawings, under a name and with its arguments."""

    def put(function):
        DRAWINGS[name] = lambda: function(*arguments)
        return function

    return put


def fill_of(word: str) -> str:
    """Grey for what is no text."""
    return GREY if word in ("start", "end", "pad") else BLUE


STAGES = [
    ("Tokenize", "clean, cut, number"),
    ("Look up rows", "token row + position row"),
    ("Layers", "rows read earlier rows"),
    ("Outputs", "all rows, or one vector"),
    ("Draw", "U-Net and VAE"),
]
HERE = {
    1: (1, 1),
    2: (2, 4),
    3: (3, 3),
    4: (4, 4),
    5: (4, 4),
    6: (5, 5),
    7: (5, 5),
    8: (5, 5),
    9: (1, 4),
}


@drawing("way")
@drawing("way-1", 1)
@drawing("way-2", 2)
@drawing("way-3", 3)
@drawing("way-4", 4)
@drawing("way-5", 5)
@drawing("way-6", 6)
@drawing("way-7", 7)
@drawing("way-8", 8)
@drawing("way-9", 9)
def way(notebook: int = 0) -> Drawing:
    """From prompt to picture; the stages of a notebook are marked."""
    alt = """The way from a prompt to a picture, in five stages: tokenize into 77 ids; look up 77
        rows, token row plus position row; layers, in which rows read earlier rows; outputs, all
        rows or one pooled or projected vector; the U-Net draws from the rows and the VAE unpacks
        the picture, a red heart."""
    pitch, top, x, w, right = 80, 62, 70, 290, 400
    if notebook:
        first, last = HERE[notebook]
        stages = f"stage {first}" if first == last else f"stages {first} to {last}"
        alt += f" You are here: {stages}, in notebook {notebook}."
    d = Drawing("From prompt to picture", alt, top + 5 * pitch + 8)
    if notebook:
        frame = top + (first - 1) * pitch + 3
        d.box(5, frame, WIDTH - 10, (last - first + 1) * pitch - 2, edge=VERMILION, line=6)
    d.box(x, 10, w, 40, "“a red heart”", fill=YELLOW, round=18)
    for i, (name, what) in enumerate(STAGES):
        y = top + i * pitch + 12
        d.arrow((x + w / 2, y - 24), (x + w / 2, y - 1))
        d.circle(38, y + 28, 18, fill=INK)
        d.text(38, y + 28, str(i + 1), bold=True, colour=WHITE)
        d.box(x, y, w, 56, name, what, fill=ORANGE if i == 4 else SKY)
        d.arrow((x + w, y + 28), (right - 4, y + 28))
    y, at = top + 40, right
    for number in [str(number) for _, number in tokens("a red heart")[:3]]:
        wide = text_width(number, SMALL) + 10
        d.box(at, y - 18, wide, 36, number, fill=BLUE, size=SMALL)
        at += wide + 4
    d.text(at + 2, y, "… 77", anchor="start", size=SMALL)
    for i in (1, 2):
        d.cells(right, y + i * pitch - 20, 120, 42, 8, 6)
        d.text(right + 134, y + i * pitch, "77 rows", anchor="start", size=SMALL)
    d.cells(right, y + 3 * pitch - 20, 84, 42, 6, 6)
    d.text(right + 106, y + 3 * pitch, "or", size=SMALL)
    d.cells(right + 128, y + 3 * pitch - 7, 84, 14, 6, fill=PURPLE)
    d.picture(right, y + 4 * pitch - 28, 56)
    d.text(right + 72, y + 4 * pitch, "the picture", anchor="start", size=SMALL)
    if notebook:
        d.box(462, frame - 14, 160, 28, "you are here", fill=VERMILION, pale=1, bold=True,
              edge=VERMILION)  # fmt: skip
    return d


@drawing("bpe")
def bpe() -> Drawing:
    """Bytes, merges, tokens, as a tree."""
    word = "embeddings"
    symbols, merges = merge_tree(word)
    names = [*symbols, *(piece for _, _, piece, _ in merges)]
    joined = {n for left, right, *_ in merges for n in (left, right)}
    tops = [n for n in range(len(names)) if n not in joined]
    ids = {n: clip().tokenizer.convert_tokens_to_ids(names[n]) for n in tops}

    def said(piece):
        return piece.replace("</w>", " with the end mark")

    alt = f"""How byte-pair encoding cuts the word {word}, as a tree from its {len(word)} bytes
        down. Of all neighbours the pair that was learned first is joined first:
        {", then ".join(piece.replace("</w>", "") for _, _, piece, _ in merges)}.
        {len(tops)} tokens are left:
        {" and ".join(f"{said(names[n])} (id {ids[n]})" for n in tops)}."""
    left, pitch, top, step = 34, 59, 136, 60
    x, level = [left + i * pitch for i in range(len(symbols))], [0] * len(symbols)
    x[-1] += 14  # its end mark makes it wide
    for a, b, _, _ in merges:
        level.append(1 + max(level[a], level[b]))
        x.append((x[a] + x[b]) / 2)
    for n in tops:
        level[n] = max(level)
    y = [top + step * of for of in level]
    d = Drawing("Byte-pair encoding as a tree", alt, max(y) + 92)
    d.text(12, 20, "bytes of “embeddings”", anchor="start", bold=True)
    for i, (a, b, _, _) in enumerate(merges):
        for child in (a, b):
            d.line((x[child], y[child]), (x[len(symbols) + i], y[len(symbols) + i]))
    for i, symbol in enumerate(symbols):
        d.text(x[i], 54, str(word.encode()[i]), size=SMALL)
        d.arrow((x[i], 68), (x[i], y[i] - 22), line=2)
        wide = max(40, text_width(symbol, TEXT) + 8)
        d.box(x[i] - wide / 2, y[i] - 20, wide, 38, symbol, fill=GREY)
    for n in range(len(symbols), len(names)):
        last, rank = n in tops, merges[n - len(symbols)][3]
        wide = max(text_width(names[n], TEXT, last) + 18, 110 if last else 46)
        d.box(x[n] - wide / 2, y[n] - 18, wide, 56 if last else 36, names[n],
              *([f"id {ids[n]}"] if last else []), fill=BLUE if last else SKY)  # fmt: skip
        d.text(x[n] + wide / 2 + 6, y[n], str(rank), size=SMALL, anchor="start", halo=True)
    d.text(12, max(y) + 70, "number: place in the list of merges; the lowest goes first",
           anchor="start", size=SMALL)  # fmt: skip
    return d


@drawing("rows")
def row_sum() -> Drawing:
    """Token row + position row."""
    prompt, columns = "a red heart", 5
    shown = [0, 1, 2, 3, 4, 5, 76]
    table = tokens(prompt)
    alt = f"""What goes into the first layer, for “{prompt}”: each id picks its row of the token
        table, and the row of its position, 0 to 76, is added number by number. End and padding have
        the same id and token row, but other positions. Shown are the {columns} numbers of each row
        of the shipped model in which position rows differ most; darker is larger."""
    values = [part.tolist() for part in rows_in(prompt, columns)]
    high = max(abs(v) for part in values for i in shown for v in part[i])

    def levels(row):
        return [round(0.5 + 0.48 * v / high, 2) for v in row]

    pitch, top, w = 46, 78, 110
    at = {"token": 212, "place": 364, "sum": 516}
    d = Drawing("Token row + position row", alt, top + 8 * pitch - 2)
    d.text(52, 48, "position", bold=True, size=SMALL)
    for x, *lines in ((138, "token", "id"),
                      (at["token"] + w / 2, "token", "row"),
                      (at["place"] + w / 2, "position", "row"),
                      (at["sum"] + w / 2, "into the", "layers")):  # fmt: skip
        for i, line in enumerate(lines):
            d.text(x, 22 + 26 * i, line, bold=True)
    y = top
    for place in shown:
        if place == 76:
            for x in (46, 138, *(v + w / 2 for v in at.values())):
                d.text(x, y + 14, "⋮", bold=True)
            y += pitch - 8
        word, number = table[place]
        d.text(46, y + 18, str(place), bold=True)
        d.box(74, y - 3, 128, 42, fill=fill_of(word), dash=word == "pad")
        d.text(82, y + 18, word, anchor="start", size=SMALL)
        d.text(196, y + 18, str(number), anchor="end", size=SMALL)
        for x, part, fill in zip(at.values(), values, (BLUE, GREEN, PURPLE), strict=True):
            d.cells(x, y, w, 36, columns, fill=fill, levels=levels(part[place]))
        d.text(at["token"] + w + 21, y + 18, "+", size=BIG, bold=True)
        d.text(at["place"] + w + 21, y + 18, "=", size=BIG, bold=True)
        y += pitch
    return d


@drawing("layer")
def layer() -> Drawing:
    """One layer: attention and MLP, each added to the rows."""
    alt = """One layer of the text encoder. The rows run straight through, and two branches are
        added to them: layer norm 1 and attention, in which each row reads itself and earlier rows;
        then layer norm 2 and the MLP, which works on each row on its own."""
    d = Drawing("One layer", alt, 388)
    main, y = 80, 302
    d.line((80, main), (262, main), line=6)
    d.line((262, main), (490, main), line=6)
    d.arrow((490, main), (558, main), line=6)
    for x, fill, norm, part, *lines in (
        (108, SKY, "layer norm 1", "attention", "each row reads", "itself and earlier"),
        (330, GREEN, "layer norm 2", "MLP", "each row", "on its own"),
    ):
        d.text(x + 86, main - 24, "unchanged", size=SMALL)
        d.arrow((x, main), (x, 154))
        d.box(x - 14, 156, 158, 42, norm)
        d.arrow((x + 65, 198), (x + 65, 224))
        d.box(x - 14, 226, 158, 50, part, fill=fill, bold=True, size=22)
        d.arrow((x + 144, 251), (x + 172, 251), (x + 172, main + 20))
        d.circle(x + 172, main, 20, "+", fill=YELLOW, line=3)
        for i, line in enumerate(lines):
            d.text(x + 65, 346 + 26 * i, line, size=SMALL)
        dots = [x + 5 + 40 * k for k in range(4)]
        for k, dot in enumerate(dots):
            d.circle(dot, y + 18, 9, fill=fill, line=2)
            if part == "MLP":
                d.path(f"M{dot - 6} {y + 11} c-12 -24 24 -24 12 0", edge=INK, line=2.5)
            elif k < 3:
                d.path(f"M{dots[3]} {y + 9} C{dots[3]} {y - 22 + 6 * k} {dot} {y - 22 + 6 * k} "
                       f"{dot} {y + 9}", edge=INK, line=2.5)  # fmt: skip
    for x, label, anchor, end in ((12, "rows in", "start", 12), (560, "rows out", "end", 628)):
        d.text(end, 22, label, bold=True, size=SMALL, anchor=anchor)
        d.cells(x, main - 38, 68, 76, 4, 6)
    return d


@drawing("masks")
def masks() -> Drawing:
    """Which row may look at which, under both masks."""
    prompt, n, cell, left, top = "a red heart", 7, 46, 112, 106
    words = [word for word, _ in tokens(prompt)[:n]]
    real = words.index("end") + 1
    alt = f"""Which row may look at which, for “{prompt}” and {n - real} places of padding. The
        causal mask leaves the triangle of what is not in the future. The attention mask takes only
        {sum(range(1, n - real + 1))} looks more, marked with a cross, all from padding to padding:
        the rows of the prompt could not see padding anyway."""
    d = Drawing("Causal mask and attention mask", alt, top + n * cell + 14)

    def mark(kind, x, y, size):
        fill = {"look": BLUE, "future": GREY, "padding": VERMILION}[kind]
        d.box(x, y, size, size, fill=fill, round=0, line=1, hatch=kind == "padding")
        if kind == "look":
            d.circle(x + size / 2, y + size / 2, 8, fill=BLUE)
        if kind == "padding":
            near, far = 0.3 * size, 0.7 * size
            d.line((x + near, y + near), (x + far, y + far), line=4)
            d.line((x + far, y + near), (x + near, y + far), line=4)

    d.text(left - 10, 22, "mask", anchor="end", bold=True)
    d.text(left - 10, 60, "looks at →", anchor="end", size=SMALL)
    d.text(left - 10, 90, "looks ↓", anchor="end", size=SMALL)
    for j, word in enumerate(words):
        x = left + j * cell
        d.box(x + 6, 6, cell - 12, 32, "1" if j < real else "0", bold=True,
              fill=WHITE if j < real else VERMILION)  # fmt: skip
        d.text(x + cell / 2, 60 if j % 2 else 84, word, size=SMALL)
    for i, looking in enumerate(words):
        d.text(left - 10, top + (i + 0.5) * cell, looking, anchor="end", size=SMALL)
        for j in range(n):
            kind = "future" if j > i else "look" if j < real else "padding"
            mark(kind, left + j * cell, top + i * cell, cell)
    stairs = [(left + (k + 1) // 2 * cell, top + k // 2 * cell) for k in range(2 * n + 1)]
    d.line(*stairs, line=5)
    x, y = left + n * cell + 18, top + 8
    for kind, *lines in (
        ("look", "may look"),
        ("future", "the future:", "causal mask"),
        ("padding", "padding:", "attention mask", "takes only", "these"),
    ):
        mark(kind, x, y, 32)
        for i, line in enumerate(lines):
            d.text(x + (42 if i == 0 else 0), y + 16 + 28 * i, line, anchor="start", size=SMALL)
        y += 58 + 28 * (len(lines) - 1)
    return d


@drawing("outputs")
def outputs() -> Drawing:
    """The three outputs, and who reads each."""
    alt = """The three outputs of the text encoder, and who reads each. The U-Net of Stable
        Diffusion 1 and 2 reads last_hidden_state, all 77 rows after the final layer norm. FLUX.1
        reads pooler_output, the row of the first end token. Search reads text_embeds, that row
        times one matrix, and so does SDXL from its second encoder."""
    words = [word for word, _ in tokens("a red heart")[:6]]
    d = Drawing("The three outputs", alt, 404)
    top, pitch, x, w, mid = 48, 34, 64, 140, 318
    d.text(14, 22, "last_hidden_state", bold=True, anchor="start")
    d.text(532, 22, "who reads it", bold=True)
    for i, word in enumerate([*words, "pad"]):
        y = top + i * pitch + (18 if i == 6 else 0)
        d.text(x - 8, y + 14, word, anchor="end", size=SMALL)
        last = word == "end"
        d.cells(x, y, w, 28, 6, fill=PURPLE if last else BLUE, levels=[0.6] * 6 if last else None)
    d.text(x + w / 2, top + 6 * pitch + 6, "⋮", bold=True)
    d.text(x + w / 2, 324, "77 rows, after the", size=SMALL)
    d.text(x + w / 2, 350, "final layer norm", size=SMALL)
    end = top + words.index("end") * pitch + 14
    for y, name, kind in ((end, "pooler_output", "pooled"), (346, "text_embeds", "projected")):
        d.text(mid, y - 32, name, bold=True, halo=True)
        d.cells(mid - 65, y - 14, 130, 28, 6, fill=PURPLE, levels=[0.6 if y == end else 0.3] * 6)
        d.text(mid, y + 30, kind, size=SMALL)
        d.arrow((mid + 65, y), (434, y))
    d.arrow((x + w, end), (mid - 67, end))
    d.arrow((mid, end + 42), (mid, 298))
    d.text(mid + 14, end + 62, "× one matrix", anchor="start", size=SMALL)
    d.arrow((x + w, top + 40), (434, top + 40))
    d.text(mid, top + 22, "all 77 rows", size=SMALL)
    d.box(436, top + 8, 192, 64, "U-Net", "of SD 1 and SD 2", fill=ORANGE)
    d.box(436, end - 24, 192, 48, "FLUX.1", fill=ORANGE, bold=True)
    d.box(436, 314, 192, 64, "search", "SDXL (encoder 2)", fill=ORANGE)
    return d


@drawing("attention")
def attention() -> Drawing:
    """77 rows into cross-attention."""
    words = [word for word, _ in tokens("a red heart")[:6]]
    alt = """How 77 rows enter the U-Net, by cross-attention. One place of the latents asks with a
        query, and every row, padding too, offers a key and a value. The match gives shares that add
        up to 1, here most for red and heart, an example; the values go back to the place in these
        shares."""
    d = Drawing("Cross-attention", alt, 424)
    cell, gx, gy = 20, 30, 66
    d.text(gx + 80, 22, "latents", bold=True)
    d.text(gx + 80, 48, "many places", size=SMALL)
    d.cells(gx, gy, 8 * cell, 8 * cell, 8, 8, fill=ORANGE)
    px, py = gx + 5 * cell, gy + 3 * cell
    x, top, pitch = 430, 66, 36
    d.text(x + 70, 22, "77 rows", bold=True)
    d.text(x + 70, 48, "key, value", size=SMALL)
    shares = [0.08, 0.04, 0.26, 0.36, 0.1, 0.05]
    ends = [top + i * pitch + 15 for i in range(6)] + [top + 6 * pitch + 37]
    for y, share in zip(ends, [*shares, 0.03], strict=True):
        d.line((px + cell / 2, py + cell / 2), (x - 2, y), line=round(1.5 + 22 * share, 1),
               colour=SKY)  # fmt: skip
    for y, word in zip(ends, [*words, "pad"], strict=True):
        d.cells(x, y - 14, 140, 28, 6, fill=fill_of(word))
        d.text(x + 148, y, word, anchor="start", size=SMALL)
    d.text(x + 70, ends[-1] - 29, "⋮", bold=True)
    d.box(px - 2, py - 2, cell + 4, cell + 4, fill=VERMILION, pale=1, line=4, round=2)
    d.text(gx + 80, gy + 8 * cell + 22, "one place asks:", size=SMALL)
    d.text(gx + 80, gy + 8 * cell + 48, "query", size=SMALL, bold=True)
    d.text(300, 284, "shares", bold=True, halo=True)
    d.text(300, 310, "add up to 1", size=SMALL, halo=True)
    d.text(300, 336, "(an example)", size=SMALL, halo=True)
    low = 384
    d.arrow((x + 70, ends[-1] + 18), (x + 70, low), (gx - 14, low), (gx - 14, py + cell / 2),
            (px - 4, py + cell / 2), line=4)  # fmt: skip
    d.box(128, low - 20, 276, 40, "the values, in these shares", size=SMALL)
    return d


@drawing("windows")
def windows() -> Drawing:
    """A prompt longer than 77, in windows."""
    alt = """How programs encode a prompt of 150 tokens. It is cut into two windows of 75; each gets
        its own start and end and goes through the text encoder by itself, so that neither sees the
        other. The two times 77 rows are put one after the other, and cross-attention takes all
        154."""
    d = Drawing("Windows for a long prompt", alt, 458)
    d.text(320, 22, "a long prompt: 150 tokens", bold=True)
    for x, fill, hatch in ((20, BLUE, False), (320, GREEN, True)):
        d.cells(x, 42, 300, 36, 25, fill=fill, hatch=hatch)
        c = x + 150
        d.brace(x + 4, x + 296, 84, "75 tokens", up=False)
        d.arrow((c, 130), (c, 148))
        left = c - 132
        d.box(left, 150, 56, 36, "start", fill=GREY, size=SMALL)
        d.cells(left + 56, 150, 152, 36, 12, fill=fill, hatch=hatch)
        d.box(left + 208, 150, 56, 36, "end", fill=GREY, size=SMALL)
        d.arrow((c, 188), (c, 212))
        d.box(c - 100, 214, 200, 58, "text encoder", f"run {1 if x == 20 else 2}", fill=SKY)
        d.arrow((c, 272), (c, 296))
        d.cells(x + 8, 298, 284, 52, 20, 6, fill=fill, hatch=hatch)
        d.box(c - 56, 308, 112, 32, "77 rows", bold=True)
        d.arrow((c, 352), (320 + (c - 320) * 0.4, 396))
    d.line((320, 126), (320, 354), dash=True)
    d.box(110, 398, 420, 48, "154 rows into cross-attention", fill=ORANGE, bold=True)
    return d


@drawing("cancel")
def cancel() -> Drawing:
    """How tokens cancel in man X - man + woman."""
    alt = """Two sums in tokens with their ids. In man farmer − man + woman the token man cancels,
        and the tokens of woman farmer are left: no meaning is needed. In man farmer − male + female
        nothing cancels; only learning can say that male goes with man."""
    d = Drawing("How tokens cancel", alt, 330)

    def line(y, minus, plus, works):
        x = 12
        for what in ("man", "farmer", " − ", minus, " + ", plus, " = ", "woman", "farmer"):
            if what.startswith(" "):
                sign = "?" if what == " = " and not works else what.strip()
                d.text(x + 14, y + 28, sign, size=BIG, bold=True)
                x += 28
                continue
            wide = {"man": 66, "male": 68, "female": 92, "woman": 92, "farmer": 96}[what]
            out, answer = works and what == "man", x > 400
            d.box(x, y, wide, 58, dash=out, fill=GREY if out else GREEN if answer else BLUE)
            if out:
                d.line((x - 3, y + 62), (x + wide + 3, y - 4), line=5, colour=VERMILION)
            d.text(x + wide / 2, y + 18, what, bold=True, halo=out)
            d.text(x + wide / 2, y + 41, str(id_of(what)), size=SMALL, halo=out)
            x += wide + 4

    d.text(12, 22, "The token “man” cancels", anchor="start", bold=True)
    line(46, "man", "woman", True)
    d.text(12, 130, "No meaning needed: random rows can do it too.", anchor="start", size=SMALL)
    d.text(12, 196, "Nothing cancels", anchor="start", bold=True)
    line(220, "male", "female", False)
    d.text(12, 304, "Only learning can say that male goes with man.", anchor="start", size=SMALL)
    return d


@drawing("contrastive")
def contrastive() -> Drawing:
    """The n x n table of contrastive learning."""
    pairs = [("red", "heart", VERMILION), ("blue", "circle", BLUE), ("green", "square", GREEN),
             ("yellow", "star", YELLOW)]  # fmt: skip
    alt = """How CLIP learns, as a table of four pictures, the rows, and their four captions, the
        columns: red heart, blue circle, green square, yellow star. Training makes the cosine of the
        true pairs on the diagonal larger, and all others smaller. Each row asks which caption is
        mine, each column which picture is mine."""
    left, top, w, h = 138, 84, 94, 74
    d = Drawing("Contrastive learning", alt, top + 4 * h + 66)
    d.text(12, 22, "pictures ↓", anchor="start", size=SMALL)
    d.text(12, 50, "captions →", anchor="start", size=SMALL)
    for i, (colour, what, fill) in enumerate(pairs):
        d.text(left + (i + 0.5) * w, 30, colour, bold=True)
        d.text(left + (i + 0.5) * w, 56, what, bold=True)
        d.picture(left - 78, top + i * h + 6, 62, what=what, fill=fill)
        for j in range(4):
            d.box(left + j * w, top + i * h, w, h, "+" if i == j else "−", round=0, bold=i == j,
                  fill=YELLOW if i == j else WHITE, pale=0.6, size=BIG)  # fmt: skip
    x, y = left + 4 * w + 12, top + h / 2
    d.arrow((x - 8, y), (x + 32, y), line=4)
    for i, line in enumerate(("row:", "which", "caption", "is mine?")):
        d.text(x, y + 34 + 26 * i, line, anchor="start", size=SMALL)
    y = top + 4 * h
    d.arrow((left + w / 2, y + 4), (left + w / 2, y + 46), line=4)
    d.text(left + w / 2 + 18, y + 30, "column: which picture is mine?", anchor="start", size=SMALL)
    x -= 2
    for i, line in enumerate(("cosine:", "+ larger", "− smaller")):
        d.text(x, top + 2.85 * h + 30 * i, line, anchor="start", bold=True)
    return d


@drawing("parts")
def parts() -> Drawing:
    """The parts of Stable Diffusion."""
    alt = """The parts of Stable Diffusion. The text encoder turns the prompt into 77 rows. In each
        step the U-Net reads them by cross-attention and guesses the noise in the latents, which are
        noise from a seed at first, and the scheduler takes some of it off. After the last step the
        VAE unpacks the latents into the picture, a red heart."""
    d = Drawing("The parts of Stable Diffusion", alt, 446)
    d.box(12, 12, 156, 44, "“a red heart”", fill=YELLOW, round=18)
    d.arrow((168, 34), (196, 34))
    d.box(198, 8, 176, 52, "text encoder", fill=SKY, bold=True)
    d.arrow((374, 34), (408, 34))
    d.cells(410, 10, 110, 48, 8, 6)
    d.text(532, 34, "77 rows", anchor="start", size=SMALL)
    d.arrow((465, 60), (465, 92), (300, 92), (300, 172))
    d.text(316, 112, "cross-attention", anchor="start", size=SMALL)
    d.cells(14, 168, 84, 84, 6, 6, fill=GREY, hatch=True)
    d.text(56, 148, "latents", size=SMALL)
    d.text(14, 274, "at first: noise", size=SMALL, anchor="start")
    d.text(14, 300, "from a seed", size=SMALL, anchor="start")
    d.arrow((98, 210), (206, 210))
    d.path("M208 150 L300 178 L392 150 V270 L300 242 L208 270 Z", fill=WHITE)
    d.path("M208 150 L300 178 L392 150 V270 L300 242 L208 270 Z", fill=ORANGE, pale=0.35, edge=INK)
    d.text(300, 210, "U-Net", bold=True, size=BIG)
    d.arrow((392, 210), (470, 210))
    d.text(430, 190, "noise?", size=SMALL)
    d.box(472, 174, 156, 72, "scheduler", "takes some off", fill=GREEN)
    d.arrow((500, 246), (500, 312), (176, 312), (176, 214))
    d.box(240, 294, 180, 36, "next step", size=SMALL)
    d.arrow((590, 246), (590, 366))
    d.text(580, 345, "last step", anchor="end", size=SMALL)
    d.box(498, 368, 130, 60, "VAE", "unpacks", fill=PURPLE)
    d.arrow((498, 398), (432, 398))
    d.picture(362, 364, 68)
    return d


@drawing("guidance")
def guidance() -> Drawing:
    """Guidance as an arrow."""
    alt = """Guidance as an arrow. It starts at the U-Net's answer to the empty prompt, scale 0,
        leads to its answer to the prompt, scale 1, and goes on in the same direction to 2, 3 and 4:
        empty + scale × (prompt − empty). A negative prompt is another start, and so gives another
        direction."""
    d = Drawing("Guidance as an arrow", alt, 430)
    x, y, dx, dy = 84, 232, 118, -38
    px, py = x + dx, y + dy
    nx, ny = px - 24, py + 120
    d.text(14, 22, "answers of the U-Net", anchor="start", bold=True)
    d.arrow((nx, ny), (px + 24 * 1.05, py - 120 * 1.05), colour=VERMILION, dash=True, line=4)
    d.arrow((x, y), (x + 4.5 * dx, y + 4.5 * dy), line=5)
    for scale in range(5):
        at = (x + scale * dx, y + scale * dy)
        d.circle(*at, 13, fill=(BLUE, GREEN)[scale] if scale < 2 else WHITE, line=3)
        d.text(at[0] + (20 if scale == 1 else 0), at[1] + 38, str(scale), bold=True, size=BIG)
    d.circle(nx, ny, 13, fill=VERMILION, line=3)
    d.text(x, y + 68, "empty prompt", size=SMALL)
    d.text(px - 14, py - 32, "prompt", anchor="end", size=SMALL)
    d.text(x + 3.2 * dx, y + 2 * dy + 54, "scale: how far to go", size=SMALL)
    d.text(nx + 26, ny, "negative prompt:", anchor="start", size=SMALL)
    d.text(nx + 26, ny + 26, "another start, another direction", anchor="start", size=SMALL)
    d.box(14, 374, WIDTH - 28, 46, "empty + scale × (prompt − empty)", bold=True, fill=YELLOW)
    return d


@drawing("new-word")
def new_word() -> Drawing:
    """The row of a new word."""
    last = len(clip().tokenizer) - 1
    alt = f"""Textual inversion: one new row below the {last + 1:,} rows of the token table, which
        are frozen. With the row of a it goes through the text encoder and the U-Net, frozen too.
        The gradient of the error on a few drawings goes back and changes the new row only."""
    d = Drawing("A new word’s row", alt, 430)
    d.text(120, 22, "token table", bold=True)
    d.text(120, 48, "frozen", size=SMALL)
    a = id_of("a")
    for y, label in ((66, "0"), (146, str(a)), (226, str(last))):
        d.text(66, y + 16, label, anchor="end", size=SMALL)
        d.cells(76, y, 132, 32, 6, fill=GREY, hatch=True)
        if label != str(last):
            d.text(142, y + 56, "⋮", bold=True)
    d.text(66, 306, "new", anchor="end", bold=True)
    d.cells(76, 288, 132, 36, 6, fill=VERMILION, levels=[0.5] * 6)
    d.box(73, 285, 138, 42, line=4, round=3, pale=1, fill="none")
    d.text(142, 346, "learned", bold=True)
    d.box(262, 144, 50, 36, "a", fill=BLUE)
    d.box(250, 286, 74, 40, "new", fill=YELLOW, bold=True)
    d.arrow((210, 162), (260, 162))
    d.arrow((212, 306), (248, 306))
    d.arrow((312, 162), (350, 162), (350, 82), (396, 82))
    d.line((324, 306), (350, 306), (350, 160))
    d.box(398, 50, 230, 64, "text encoder", "frozen", fill=GREY, hatch=False)
    d.arrow((513, 114), (513, 144))
    d.box(398, 146, 230, 64, "U-Net", "frozen", fill=GREY)
    d.arrow((513, 210), (513, 240))
    d.box(398, 242, 230, 64, "error", "on a few drawings", fill=ORANGE)
    d.arrow((513, 306), (513, 390), (142, 390), (142, 362), colour=VERMILION, line=5, dash=True)
    d.box(220, 370, 250, 40, "gradient: this row only", bold=True, size=SMALL)
    return d


@drawing("mix")
def mix() -> Drawing:
    """The straight way and the arc."""
    one, two = "puppy", "skunk"
    wide = angle(one, two)
    half = cos(radians(wide / 2))
    alt = f"""Two ways between the vectors of {one} and {two}, both of length 1 and {wide} degrees
        apart in the shipped model. Halfway, mix on the straight line has length {half:.2f}, and
        slerp on the arc has length 1.00."""
    d = Drawing("The straight way and the arc", alt, 392)
    ox, oy, r = 60, 366, 330

    def at(degree, length=1.0):
        turned = radians(degree)
        return ox + length * r * cos(turned), oy - length * r * sin(turned)

    first, last = 45 + wide / 2, 45 - wide / 2
    middle = 45
    for degree in (first, last):
        d.arrow((ox, oy), at(degree), line=4)
    d.path(f"M{at(first)[0]:.1f} {at(first)[1]:.1f} A{r} {r} 0 0 1 {at(last)[0]:.1f} "
           f"{at(last)[1]:.1f}", edge=BLUE, line=5)  # fmt: skip
    d.line(at(first), at(last), colour=VERMILION, line=5, dash=True)
    d.line((ox, oy), at(middle), line=2, dash=True)
    d.circle(*at(middle), 11, fill=BLUE)
    x, y = at(middle, half)
    d.box(x - 10, y - 10, 20, 20, fill=VERMILION, pale=1, round=0)
    d.text(at(first)[0] - 8, at(first)[1] - 20, one, bold=True)
    d.text(at(last)[0] + 14, at(last)[1] + 6, two, bold=True, anchor="start")
    near, far = at(first, 0.2), at(last, 0.2)
    d.path(f"M{near[0]:.1f} {near[1]:.1f} A62 62 0 0 1 {far[0]:.1f} {far[1]:.1f}", edge=INK)
    x1, y1 = at(30, 0.29)
    d.text(x1, y1, f"{wide}°", size=SMALL, halo=True)
    d.text(310, 300, "halfway", bold=True, anchor="start")
    d.circle(321, 333, 11, fill=BLUE)
    d.text(342, 333, "slerp, on the arc: length 1.00", anchor="start", size=SMALL)
    d.box(311, 355, 20, 20, fill=VERMILION, pale=1, round=0)
    d.text(342, 365, f"mix, straight: length {half:.2f}", anchor="start", size=SMALL)
    return d


@drawing("weight")
def weight() -> Drawing:
    """The weight of a word, on its row."""
    prompt, w = "a red heart", 1.5
    words = [word for word, _ in tokens(prompt)[:5]]
    alt = f"""The weight of a word, by the rule “toward the empty prompt”: empty + weight × (row −
        empty). Of “{prompt}” only the row of red is changed, from 0, the empty prompt's row in that
        place, through 1, its own, to {w}."""
    d = Drawing("The weight of a word", alt, 344)
    red = words.index("red")
    d.text(14, 22, f"a (red:{w}) heart", anchor="start", bold=True)
    for i, word in enumerate([*words, "pad"]):
        y = 46 + 40 * i
        d.text(66, y + 16, word, anchor="end", size=SMALL, bold=i == red)
        d.cells(76, y, 132, 32, 6, fill=VERMILION if i == red else fill_of(word))
        d.text(218, y + 16, "changed" if i == red else "as it was", anchor="start", size=SMALL,
               bold=i == red)  # fmt: skip
    y = 46 + 40 * red
    d.box(73, y - 3, 138, 38, fill="none", pale=1, line=4, round=3)
    x0, y0, dx, dy = 370, 214, 128, -62
    d.arrow((x0, y0), (x0 + 1.9 * dx, y0 + 1.9 * dy), line=5)
    for at, label in ((0, "0"), (1, "1"), (w, f"{w}")):
        px, py = x0 + at * dx, y0 + at * dy
        d.circle(px, py, 12, fill={0: WHITE, 1: BLUE}.get(at, VERMILION), line=3)
        d.text(px + 10, py + 36, label, bold=True, size=BIG)
    d.text(x0 + 34, y0 + 36, "empty prompt’s row", anchor="start", size=SMALL)
    d.text(x0 + dx - 18, y0 + dy - 22, "its row", anchor="end", size=SMALL)
    d.box(14, 296, WIDTH - 28, 40, "empty + weight × (row − empty)", fill=YELLOW, bold=True)
    return d


@drawing("limit")
def limit() -> Drawing:
    """Seventy-seven places, and what is lost."""
    text = " ".join(["a", *["very"] * 100, "text"])
    content, room = pieces(text), len(tokens("a")) - 2
    lost = content[room:]
    assert lost == ["very"] * (len(lost) - 1) + ["text"]
    alt = f"""What fits into one prompt. A row has 77 places, {room} of them for text between start
        and end. Of a, a hundred times very, and text, {len(content)} tokens, the last {len(lost)}
        are cut off."""
    d = Drawing("Seventy-seven places", alt, 216)
    y = 74

    def strip(x, *words, gone=False):
        for word in words:
            wide = 24 if word == "…" else text_width(word, TEXT) + 14
            if word == "…":
                d.text(x + wide / 2, y + 20, word)
            else:
                d.box(x, y, wide, 42, word, fill=VERMILION if gone else fill_of(word), dash=gone)
            x += wide + 4
        return x - 4

    d.text(12, 22, f"“a”, 100 × “very”, “text”: {len(content)} tokens", anchor="start", bold=True)
    x = strip(12, "start", *content[:3], "…", content[room - 1], "end")
    d.line((x + 16, 50), (x + 16, 204), line=4, colour=VERMILION, dash=True)
    end = strip(x + 32, *lost[:2], "…", lost[-1], gone=True)
    d.brace(12, x, y + 48, f"77 places, {room} for text", up=False)
    d.brace(x + 32, end, y + 48, f"{len(lost)} are cut off", up=False)
    return d


@drawing("beginnings")
def beginnings() -> Drawing:
    """Prompts that begin alike share rows."""
    prompts = ["a photo of a cat", "a photo of a dog"]
    both = [tokens(prompt) for prompt in prompts]
    same = next(i for i in range(77) if both[0][i] != both[1][i])
    alt = f"""“{prompts[0]}” and “{prompts[1]}” begin with the same {same} tokens, start included,
        and so their first {same} rows are equal. From cat and dog on all rows differ, those of end
        and padding too, as they have looked back."""
    d = Drawing("The same beginning, the same rows", alt, 336)
    pitch, left, w = 78, 10, 70
    for row, y, down in ((both[0], 10, 1), (both[1], 286, -1)):
        for i, (word, _) in enumerate(row[:8]):
            x, differs = left + i * pitch, i == same
            d.box(x, y, w, 40, word, fill=ORANGE if differs else fill_of(word), size=SMALL,
                  dash=word == "pad", bold=differs)  # fmt: skip
            d.arrow((x + w / 2, y + 20 + 20 * down), (x + w / 2, y + 20 + 42 * down), line=2)
            d.cells(x + 12, y + 64 if down == 1 else y - 98, 46, 74, 1, 5,
                    fill=BLUE if i < same else ORANGE, hatch=i >= same)  # fmt: skip
    for i in range(8):
        d.text(left + i * pitch + w / 2, 168, "=" if i < same else "≠", bold=True, size=28)
    return d


@drawing("towers")
def towers() -> Drawing:
    """CLIP's two towers."""
    alt = """CLIP's two towers. A caption goes through the text encoder, the patches of a picture
        through the image encoder; each gives one pooled vector. A projection, one matrix each,
        brings both to the same width, and the cosine compares text_embeds and image_embeds."""
    d = Drawing("CLIP’s two towers", alt, 426)
    for x, name, embeds, wide, fill in (
        (140, "text encoder", "text_embeds", 5, BLUE),
        (500, "image encoder", "image_embeds", 8, ORANGE),
    ):
        d.arrow((x, 78), (x, 96))
        d.box(x - 96, 98, 192, 50, name, fill=fill, bold=True)
        d.arrow((x, 148), (x, 172))
        d.cells(x - 14 * wide, 174, 28 * wide, 30, wide, fill=fill, levels=[0.4] * wide)
        d.arrow((x, 204), (x, 228))
        d.box(x - 70, 230, 140, 44, "projection")
        d.arrow((x, 274), (x, 298))
        d.cells(x - 84, 300, 168, 30, 6, fill=PURPLE, levels=[0.4] * 6)
        d.text(x, 350, embeds, bold=True)
        d.arrow((x + (84 if x < 320 else -84), 315), (320 + (-64 if x < 320 else 64), 315))
    d.box(54, 26, 172, 46, "“a red heart”", fill=YELLOW, round=18)
    d.picture(464, 4, 72)
    for k in (1, 2):
        d.line((464 + 24 * k, 4), (464 + 24 * k, 76), line=1.5)
        d.line((464, 4 + 24 * k), (536, 4 + 24 * k), line=1.5)
    d.text(546, 40, "patches", anchor="start", size=SMALL)
    d.text(320, 189, "pooled", bold=True)
    d.text(320, 250, "one matrix", size=SMALL)
    d.box(258, 290, 124, 50, "cosine", fill=YELLOW, bold=True)
    d.text(320, 398, "projected: the same width, made to be compared", size=SMALL)
    return d


@drawing("waste")
def waste() -> Drawing:
    """What is computed for eight prompts, in three ways."""
    prompts = [
        "a red heart",
        "a small brown dog with a blue ball",
        "a photo of a cat",
        "a painting of a busy market with apples, pears, plums, grapes, lemons, melons, and a "
        "small sleeping cat on an old red chair under the table",
        "the sea at night",
        "a blue circle",
        "a bowl of soup with carrots, onions, potatoes and beans, and a piece of bread beside it "
        "on a wooden table",
        "a fox",
    ]
    room = len(tokens(prompts[0]))
    lengths = [len(pieces(prompt)) + 2 for prompt in prompts]
    half = len(prompts) // 2

    def cut(order):
        """To the longest of each half."""
        return [max(order[i - i % half : i - i % half + half]) for i in range(len(order))]

    ways = [
        ("to 77", lengths, [room] * len(lengths)),
        ("each four to their longest", lengths, cut(lengths)),
        ("sorted first", sorted(lengths), cut(sorted(lengths))),
    ]
    sums = [sum(wide) for _, _, wide in ways]
    alt = f"""What the text encoder computes for {len(prompts)} prompts of {min(lengths)} to
        {max(lengths)} tokens, a bar for each. Filled up to {room}: {sums[0]} rows, of which
        {sum(lengths)} are text and all others padding, drawn hatched. Each four filled up to
        their longest: {sums[1]} rows. Sorted by length before that: {sums[2]}, as the long
        prompts then stand together."""
    left, pitch, bar, unit = 14, 17, 14, 7.9
    high = 34 + len(prompts) * pitch + 18
    d = Drawing("Padding is computed, too", alt, 3 * high + 34)
    for i, (name, real, wide) in enumerate(ways):
        y = 6 + i * high
        d.text(left, y + 12, name, anchor="start", bold=True)
        d.text(left + room * unit, y + 12, f"{sums[i]} rows", anchor="end", bold=True)
        for j, (text, all_) in enumerate(zip(real, wide, strict=True)):
            at = y + 30 + j * pitch + (6 if j >= half and i else 0)
            d.box(left, at, text * unit, bar, fill=BLUE, pale=1, round=0, line=1)
            if all_ > text:
                d.box(left + text * unit, at, (all_ - text) * unit, bar, fill=ORANGE, round=0,
                      line=1, hatch=True)  # fmt: skip
    y = 3 * high + 4
    d.box(left, y, 24, 20, fill=BLUE, pale=1, round=0, line=1)
    d.text(left + 34, y + 10, f"text: {sum(lengths)} rows", anchor="start", size=SMALL)
    d.box(left + 240, y, 24, 20, fill=ORANGE, round=0, line=1, hatch=True)
    d.text(left + 274, y + 10, "padding", anchor="start", size=SMALL)
    return d


@drawing("tree")
def tree() -> Drawing:
    """Ten prompts as a tree."""
    prompts = ["a cat", "a cat asleep", "a cat on a mat", "a dog", "a dog asleep", "a dog on a mat",
               "a red car", "a red heart", "the sea", "the sea at night"]  # fmt: skip
    paths = [("start", *pieces(prompt), "end") for prompt in prompts]
    nodes = sorted({path[: i + 1] for path in paths for i in range(len(path))})
    ends = sorted(paths, key=lambda path: path[:-1])  # an end before what goes on
    alone, room = sum(map(len, paths)), len(tokens(prompts[0]))
    alt = f"""{len(prompts)} prompts as a tree, from start on the left to an end for each on the
        right: {", ".join(prompts)}. What begins alike is one node, so that there are {len(nodes)}
        nodes; one prompt at a time they are {alone} tokens, and filled up {room * len(prompts)}
        rows. A node looks at itself and at its ancestors, marked for the end of a cat asleep:
        start, a, cat, asleep, end."""
    left, top, w, h, across, down = 10, 40, 76, 34, 90.5, 44
    marked = next(path for path in paths if path[:-1] == ("start", "a", "cat", "asleep"))
    at = {}
    for row, path in enumerate(ends):
        for i in range(len(path)):
            at.setdefault(path[: i + 1], (left + i * across, top + row * down))
    d = Drawing("Ten prompts as a tree", alt, top + len(prompts) * down + 60)
    d.text(left, 18, f"{len(prompts)} prompts, {len(nodes)} nodes", anchor="start", bold=True)
    d.text(WIDTH - 10, 18, "position = depth", anchor="end", size=SMALL)
    for node, (x, y) in at.items():
        if len(node) > 1:
            px, py = at[node[:-1]]
            seen = marked[: len(node)] == node
            corner = [(px + w + 7, py + h / 2), (px + w + 7, y + h / 2)] if py != y else []
            d.line((px + w, py + h / 2), *corner, (x, y + h / 2), line=6 if seen else 2.5)
    for node, (x, y) in at.items():
        seen = marked[: len(node)] == node
        d.box(x, y, w, h, node[-1], fill=ORANGE if seen else fill_of(node[-1]), bold=seen,
              line=4 if seen else 2, size=SMALL)  # fmt: skip
    y = top + len(prompts) * down + 6
    d.text(left, y + 10, f"alone: {alone} tokens; filled up to {room}: {room * len(prompts)} rows",
           anchor="start", size=SMALL)  # fmt: skip
    d.text(left, y + 36, "thick: what the end of “a cat asleep” looks at", anchor="start",
           size=SMALL)  # fmt: skip
    return d
