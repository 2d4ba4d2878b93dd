"""Results as JSON in a folder, and the tables that are made of them in ``docs/speed.md``."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

from .measure import TOLERANCE, worse
from .models import ABOUT
from .ways import TREE, USUAL

ALIKE = ("cpu", "gpu", "threads", "versions")
TITLE, ON_GPU = "### ", " · GPU"
NO_GPU = ("On a GPU", "Not measured: no table here is of a machine with a CUDA device.")
BEGIN, END = "<!-- tables: make bench writes them -->", "<!-- end of the tables -->"
MINE = {TREE, "embed"}
TWO_ARE_SLOWER = (
    "Two processes were slower than one here; why was not measured. They are for several GPUs or "
    "machines."
)


def fits(build: Path, part: str, machine: dict[str, Any], digest: str, ways: set[str]) -> None:
    """See that repeats can be added to those of a part that are there.

    Raises:
        SystemExit: those are of other prompts, versions or ways, or of another machine.
    """
    path = build / f"{part.replace(':', '-')}.json"
    if not path.exists():
        return
    there = json.loads(path.read_text(encoding="utf-8"))
    same = all(there["machine"].get(of) == machine[of] for of in ALIKE)
    figures = there["figures"]
    if not same or figures.get("digest") != digest or set(figures["seconds"]) != ways:
        raise SystemExit(
            f"{path} is of other prompts, versions or ways, or of another machine: leave out "
            "--add, or name another --build."
        )


def store(
    build: Path, part: str, machine: dict[str, Any], figures: dict[str, Any], add: bool = False
) -> None:
    """Keep the result of a part, or add its repeats to those that are there (``fits``)."""
    build.mkdir(parents=True, exist_ok=True)
    path = build / f"{part.replace(':', '-')}.json"
    if add and path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        was = before["figures"]
        for name, times in was["seconds"].items():
            far = figures["difference"][name]
            figures["seconds"][name] = times + figures["seconds"][name]
            figures["difference"][name] = worse(was["difference"][name], far)
        machine["load"] = max(machine["load"] or 0, before["machine"]["load"] or 0)
    text = json.dumps({"part": part, "machine": machine, "figures": figures}, indent=1)
    path.write_text(text, encoding="utf-8")


def write(build: Path, page: Path) -> None:
    """Put the tables of all parts that have a result between the two marks of a page.

    They take the place of those of the same title; the other tables of the page stay.
    """
    results = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted(build.glob("*.json"))
    ]
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    there, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"{page} has no line {BEGIN!r} with {END!r} after it.")
    kept = {part.split("\n")[0]: part for part in there.strip().split(TITLE)[1:]}
    kept = {title: TITLE + part.strip() for title, part in kept.items() if title != NO_GPU[0]}
    found = kept | tables(results)
    if not any(title.endswith(ON_GPU) for title in found):
        found[NO_GPU[0]] = TITLE + "\n\n".join(NO_GPU)
    text = "\n\n".join(found.values())
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def tables(results: list[dict[str, Any]]) -> dict[str, str]:
    """All of them in Markdown, by their titles."""
    found = {}
    for result in results:
        lines = TABLES[result["part"].split(":")[0]](result)
        title = lines[0].removeprefix(TITLE)
        found[title] = "\n".join([*lines, "", measured_on(result["machine"])])
    return found


def measured_on(machine: dict[str, Any]) -> str:
    """One line."""
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items() if v)
    device = f"{machine['cpu']}, {machine['cores']} cores, {threads(machine['threads'])}"
    device = f"{machine['gpu']}; {device}" if machine["gpu"] else device
    device = f"{machine['date']}: {device}"
    load = "" if machine["load"] is None else f"; load {machine['load']:.1f} before"
    return f"<sub>{device}; {machine['system']}, Python {machine['python']}; {versions}{load}</sub>"


def threads(n: int) -> str:
    """Counted."""
    return f"{n} thread" + "s" * (n != 1)


def spread(values: list[float], digits: int = 1) -> str:
    """The median, and from where to where."""
    if len(values) == 1:
        return f"{values[0]:,.{digits}f} (one repeat)"
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def encode(result: dict[str, Any]) -> list[str]:
    """Ways beside each other."""
    _, model, file, device = result["part"].split(":")
    figures = result["figures"]
    seconds, usual = figures["seconds"], figures["seconds"][USUAL]
    best = min((name for name in seconds if name not in MINE), key=lambda x: median(seconds[x]))
    against = [b / t for b, t in zip(seconds[best], seconds[TREE], strict=True)]
    lines = [
        f"### {file} · {model}" + (ON_GPU if device == "cuda" else ""),
        "",
        f"{ABOUT[model][0].upper()}{ABOUT[model][1:]}. {figures['prompts']:,} prompts "
        f"of {figures['tokens']:.1f} tokens; the tree has {figures['nodes']:.1f} nodes a prompt.",
        "",
        "| | prompts a second | times the usual call | difference |",
        "|:---|---:|---:|---:|",
    ]
    for name, times in sorted(seconds.items(), key=lambda item: median(item[1])):
        ratios = [u / t for u, t in zip(usual, times, strict=True)]
        differs = figures["difference"][name]
        told = f"{differs:.0e}" + (
            " (not equal)" if not (differs <= TOLERANCE or figures["half"]) else ""
        )
        bold = "**" if name == TREE else ""
        rate = f"{figures['prompts'] / median(times):,.0f}"
        lines.append(f"| {bold}{name}{bold} | {rate} | {spread(ratios, 2)} | {told} |")
    lines += [f"| {name} | skipped | | {why} |" for name, why in figures["skipped"].items()]
    share = {
        name: work / median(seconds[name]) / figures["matrix_rate"]
        for name, work in figures["products"].items()
    }
    lines += [
        "",
        f"`{TREE}` is {spread(against, 2)} times as fast as the best of the others, {best}. "
        f"The layers' products take place at {share[TREE]:.0%} of the rate of one large product, "
        f"{figures['matrix_rate'] / 1e9:,.0f} GFLOP/s; in the usual call at {share[USUAL]:.0%}."
        + parts(figures),
    ]
    return lines


def parts(figures: dict[str, Any]) -> str:
    """How much of the rate is left when tokenizing, and then building the trees, is taken away."""
    if "parts" not in figures:  # measured before there was this figure
        return ""
    work = figures["products"][TREE] / figures["matrix_rate"]
    ids, layers = (work / figures["parts"][name] for name in ("from ids", "layers"))
    return (
        f" From ids, without tokenizing: {ids:.0%}; "
        f"the layers with their masks, trees built: {layers:.0%}."
    )


def tokenize(result: dict[str, Any]) -> list[str]:
    """Prompts a second."""
    lines = [
        "### Tokenizing, prompts a second",
        "",
        "| | tokenize | the library, the same tensors ",
    ]
    lines[-1] += (
        "| the library, lists of ids (not padded) | tokenize to the library, same tensors |"
    )
    lines.append("|:---|---:|---:|---:|---:|")
    for file, rates in result["figures"].items():
        ours, theirs, lists = rates.values()
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        cells = " | ".join(spread(values, 0) for values in (ours, theirs, lists))
        lines.append(f"| {file} | {cells} | {spread(ratios, 2)} |")
    return lines


def start(result: dict[str, Any]) -> list[str]:
    """Seconds."""
    lines = ["### Starting, seconds in a fresh Python", "", "| | seconds |", "|:---|---:|"]
    return lines + [f"| {name} | {spread(x, 2)} |" for name, x in result["figures"].items()]


def memory(result: dict[str, Any]) -> list[str]:
    """Megabytes."""
    lines = ["### Memory of `embed(rows=False)`, the most a process had", ""]
    lines += ["| captions | MB |", "|---:|---:|"]
    return lines + [f"| {int(n):,} | {x / 1e6:,.0f} |" for n, x in result["figures"].items()]


def million(result: dict[str, Any]) -> list[str]:
    """What became of the million."""
    x = result["figures"]
    few, tenth, most = (x[f"{of}_bytes"] for of in ("few", "tenth", "all"))
    more, later = most / few - 1, most / tenth - 1
    yes = {True: "yes", False: "**no**"}
    rows = {
        "captions, shards": f"{x['captions']:,}, {x['shards']:,}",
        f"one process ({threads(x['threads'])}), captions a second": (
            f"{x['captions'] / x['seconds']:,.0f}"
        ),
        f"two of accelerate ({threads(x['threads'])} each), captions a second": (
            f"{x['captions'] / x['two_seconds']:,.0f}"
        ),
        "load of the machine at the end of these two, their own included": f"{x['load']:.1f}",
        "the most memory, with ten thousand captions and with all of them": (
            f"{few / 1e6:,.0f} and {most / 1e6:,.0f} MB ({more:+.1%})"
        ),
        "the most memory, in the first tenth of the shards and in all": (
            f"{tenth / 1e6:,.0f} and {most / 1e6:,.0f} MB ({later:+.1%})"
        ),
        "killed when so many shards were there": ", ".join(map(str, x["killed_with_shards"])),
        "after that: every caption once, in order, with a vector": yes[x["complete"]],
        f"after that: all {x['files']} files the same bytes as in one go": yes[x["killed_same"]],
        "two processes: all files the same bytes as one": yes[x["two_same"]],
        "difference to `embed`, of the largest value (stored in float16)": (
            f"{x['difference']:.0e}"
        ),
    }
    lines = ["### A million captions through `python -m helpers.bulk`", "", "| | |", "|:---|---:|"]
    lines += [f"| {name} | {value} |" for name, value in rows.items()]
    slower = x["two_seconds"] > x["seconds"]
    return lines + ["", TWO_ARE_SLOWER] * slower


def notebooks(result: dict[str, Any]) -> list[str]:
    """Seconds."""
    lines = ["### Notebooks, seconds from the first cell to the last", "", "| | s |", "|:---|---:|"]
    return lines + [f"| {name} | {x:,.0f} |" for name, x in result["figures"].items()]


TABLES = {
    "encode": encode,
    "tokenize": tokenize,
    "start": start,
    "memory": memory,
    "million": million,
    "notebooks": notebooks,
}
