"""The package, its set-up and its papers."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import EMOJI, ROOT, link
from packaging.requirements import Requirement

import helpers

MODULES = sorted((ROOT / "helpers").glob("*.py"))
ORDER = [
    *(
        "hub",
        "folders",
        "checkpoints",
        "tokens",
        "tree",
        "embeddings",
        "images",
        "artwork",
        "diffusion",
    ),
    "figures",
]
COMMANDS = ["fetch", "doctor", "__main__"]  # what python -m helpers does, on top of all
LOWEST = "checks"  # what is said to bad input; every other module may ask it
ALONE = ["arithmetic", "pictures"]  # tensors, and pictures, and nothing else of this package


def lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in text if line.strip() and not line.startswith("#")]


# --- importing ---


def test_import_is_fast_and_light() -> None:
    code = """
import sys, time
began = time.process_time()  # of this process alone: other tests run beside it
import helpers
print(time.process_time() - began)
heavy = ("torch", "transformers", "matplotlib", "numpy", "PIL")
print([name for name in heavy if name in sys.modules])
for name in ("arithmetic", "images", "artwork", "diffusion", "figures"):
    __import__(f"helpers.{name}")  # the modules too wait until they are used
print([name for name in heavy if name in sys.modules])
"""
    seconds = []
    for _ in range(3):
        run = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        )
        time, *loaded = run.stdout.splitlines()
        assert loaded == ["[]", "[]"]
        seconds.append(float(time))
    assert min(seconds) < 0.2


def test_public_names() -> None:
    source = (ROOT / "helpers" / "__init__.py").read_text(encoding="utf-8")
    imports = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ImportFrom)]
    home = {alias.name: node.module for node in imports for alias in node.names}
    assert sorted(helpers.__all__) == sorted(home)
    for name in helpers.__all__:
        assert getattr(helpers, name).__doc__ or name == "CHECKPOINTS"
    # every public function and class of the steps is reachable
    inner = {
        "as_rgb",
        "batches",
        "shrink",
        "find_pipeline",
        "pipeline_files",
    }  # for other modules of the package
    assert "tree" in ORDER  # a lesson to be read, reached through embed
    for module in {*ORDER[ORDER.index("tokens") :], *ALONE} - {"tree"}:
        tree = ast.parse((ROOT / "helpers" / f"{module}.py").read_text(encoding="utf-8"))
        defined = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
        public = {name for name in defined if not name.startswith("_")} - inner
        assert public == {n for n, m in home.items() if m == module}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        helpers.nothing  # noqa: B018


def test_imports_run_one_way() -> None:
    for path in MODULES:
        if path.stem == "__init__":
            continue
        order = [*ORDER, *ALONE, *COMMANDS]
        below = [] if path.stem in (*ALONE, LOWEST) else order[: order.index(path.stem)]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert path.stem != LOWEST
                assert node.module in [LOWEST, *below], f"{path.name} imports {node.module}"
    assert {path.stem for path in MODULES} == {*ORDER, *ALONE, *COMMANDS, LOWEST, "__init__"}


def private_names(source: str, ours: set[str]) -> set[str]:
    """What a file takes from another one of ours although its name begins with ``_``."""
    names, modules = set(), set()
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (
            node.level or (node.module or "").split(".")[0] in ours
        ):
            names |= {alias.name for alias in node.names}
            modules |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in ours:
                    modules.add(alias.asname or alias.name.split(".")[0])
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value
            while isinstance(owner, ast.Attribute):  # helpers.tokens._x
                owner = owner.value
            if isinstance(owner, ast.Name) and owner.id in modules:
                names.add(node.attr)
    return {name for name in names if re.match(r"_(?!_)", name)}


def test_nobody_uses_a_private_name_of_another() -> None:
    code = "from .a import _b\nimport c.d as e, torch\ne._f(e.g._h, e.__doc__, torch._x)\ni._j()"
    assert private_names(code, {"c"}) == {"_b", "_f", "_h"}
    sources = {path: path.read_text(encoding="utf-8") for path in MODULES}
    for path in (ROOT / "training").rglob("*.py"):
        sources[path] = path.read_text(encoding="utf-8")
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        sources[path] = "\n".join(
            "".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"
        )
    ours = {"helpers", "training", *(path.stem for path in sources)}
    found = {path.name: private_names(text, ours) for path, text in sources.items()}
    assert not {name: names for name, names in found.items() if names}


def test_public_functions_have_type_hints() -> None:
    for path in MODULES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                assert node.returns is not None, f"{path.name}: {node.name}"
                assert all(a.annotation for a in arguments), f"{path.name}: {node.name}"


def test_no_code_from_the_hub() -> None:
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        assert "trust_remote_code" not in text
        assert "torch.load" not in text


# --- the shipped model ---


def test_model_files() -> None:
    sizes = {file.name: file.stat().st_size for file in EMOJI.iterdir() if file.is_file()}
    assert sum(sizes.values()) <= 25_000_000
    assert helpers.CHECKPOINTS["emoji"].files[0] in sizes
    needed = set(helpers.CHECKPOINTS["emoji"].files) - {"special_tokens_map.json"}
    assert needed <= set(sizes)
    assert not [name for name in sizes if name.endswith((".bin", ".pt", ".pkl", ".py"))]


def test_tokenizer_config() -> None:
    config = json.loads((EMOJI / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert config["model_max_length"] == 77
    assert config["bos_token"] == "<|startoftext|>"
    assert config["eos_token"] == config["unk_token"] == config["pad_token"] == "<|endoftext|>"


def test_model_config() -> None:
    text = json.loads((EMOJI / "config.json").read_text(encoding="utf-8"))["text_config"]
    assert text["vocab_size"] == 49408
    assert text["max_position_embeddings"] == 77
    assert (text["bos_token_id"], text["eos_token_id"]) == (49406, 49407)


# --- set-up ---


def test_both_ways_to_install_name_the_same_versions() -> None:
    pinned = lines(ROOT / "requirements.txt")
    conda = [line[2:] for line in lines(ROOT / "environment.yml") if "==" in line]
    assert conda == pinned
    assert all(re.fullmatch(r"[A-Za-z_-]+==[\w.]+", line) for line in pinned)


def test_the_bench_measures_the_same_versions() -> None:
    """Except for torch, which the peers' torchvision chooses."""
    pins, bench = (
        dict(line.split("==") for line in lines(path) if line)
        for path in (ROOT / "requirements.txt", ROOT / "tools/bench/requirements.txt")
    )
    shared = bench.keys() & pins.keys() - {"torch"}
    assert {name: bench[name] for name in shared} == {name: pins[name] for name in shared}
    assert {"torch", "transformers", "diffusers", "nbconvert"} <= bench.keys()


def test_pins_lie_inside_the_ranges() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [Requirement(r) for r in project["dependencies"]]
    wanted += [Requirement(r) for extra in project["optional-dependencies"].values() for r in extra]
    pins = dict(line.split("==") for line in lines(ROOT / "requirements.txt"))
    for requirement in wanted:
        assert requirement.specifier.contains(pins[requirement.name]), requirement
    assert set(pins) == {requirement.name for requirement in wanted}
    assert project["version"] == helpers.__version__


# What Colab had in August 2026; it must fit into the ranges.
COLAB = {
    "torch": "2.11.0",
    "transformers": "5.15.0",
    "diffusers": "0.39.0",
    "accelerate": "1.14.0",
    "huggingface_hub": "1.27.0",
    "tokenizers": "0.22.2",
    "numpy": "2.1.3",
    "matplotlib": "3.10.0",
    "pillow": "11.3.0",
}


def test_colab_fits_into_the_ranges() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ranges = {(r := Requirement(text)).name: r.specifier for text in project["dependencies"]}
    for name, version in COLAB.items():
        assert ranges[name].contains(version), name


def test_ci_runs_the_command_of_the_readme_and_colabs_versions() -> None:
    commands = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    makes = [line for line in commands if line.startswith("make ")]
    assert makes == ["make test", "make matrix SETS=colab QUICK=1"]
    assert "set -euo pipefail" in commands  # the first failure ends it
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make notebooks" in readme
    assert "make test" in readme
    assert "make matrix" in readme


@pytest.mark.skipif(shutil.which("bash") is None, reason="this machine has no bash")
def test_ci_runs_these_two_and_no_more(tmp_path: Path) -> None:
    """Its own lines, with commands that only tell what they are asked to do."""
    for name in ("make", "apt-get", "python3"):
        path = tmp_path / name
        # a whole line at once: two of them talk at the same time
        path.write_text(f"""#!/bin/sh\necho "{name}$(printf ' <%s>' "$@")"\n""")
        path.chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    ci = ["bash", str(ROOT / ".ci" / "run")]
    run = subprocess.run(ci, env=environment, capture_output=True, text=True, check=True)
    lines = run.stdout.splitlines()
    test, colab = [line for line in lines if line.startswith("make ")]
    assert test == "make <test>"
    assert colab == "make <matrix> <SETS=colab> <QUICK=1>"
    made = [line for line in lines if line.startswith("python3 ")]
    assert made == ["python3 <tools/matrix/run.py> <colab> <--install>"]


def test_links_of_the_papers() -> None:
    for name in ("README.md", "NOTICE"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            assert re.match(r"https?:", target) or (ROOT / target).exists(), target


def test_readme_names_every_checkpoint_and_notebook() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in helpers.CHECKPOINTS:
        assert f"`{name}`" in readme
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert path.name in readme


def test_licence_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license"] == "MIT AND CC-BY-4.0"
    readme = (ROOT / "README.md").read_text(encoding="utf-8").split("## Licence")[1]
    assert "Code: MIT" in readme
    assert "Prose: CC BY 4.0" in readme


def run_make(folder: Path, *arguments: str, **environment: str) -> str:
    """What the Makefile does in an empty folder, with a Python that only tells what it sees."""
    for name in (".venv/bin", "build/html", "models/mine"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "build" / "html" / "some.html").touch()
    python = folder / ".venv" / "bin" / "python"
    told = 'echo "checkpoint: $CLIP_CHECKPOINT"\necho "threads: $OMP_NUM_THREADS"\n'
    python.write_text(f"#!/bin/sh\n{told}", encoding="utf-8")
    python.chmod(0o755)
    for name in ("requirements.txt", "pyproject.toml", ".venv/.ready"):
        (folder / name).touch()
    run = subprocess.run(
        ["make", "--file", str(ROOT / "Makefile"), *arguments],
        cwd=folder,
        env={name: os.environ[name] for name in ("PATH",)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr == ""
    return run.stdout


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="this machine has no make")


@needs_make
def test_make_help_lists_every_command(tmp_path: Path) -> None:
    listed = re.findall(r"(?m)^  make ([a-z]+) +\S", run_make(tmp_path, "help"))
    phony = re.search(r"(?m)^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert listed == phony[1].split()


@needs_make
def test_make_notebooks_finds_a_folder(tmp_path: Path) -> None:
    """The notebooks run in another folder than the one a reader types the path in."""
    folder = tmp_path / "with space"
    mine = str(folder / "models" / "mine")
    for given, expected in (("./models/mine", mine), ("models/mine", mine), (mine, mine)):
        told = run_make(folder, "notebooks", CLIP_CHECKPOINT=given)
        assert f"checkpoint: {expected}\n" in told
    assert "checkpoint: sd1\n" in run_make(folder, "notebooks", CLIP_CHECKPOINT="sd1")
    assert "checkpoint: \n" in run_make(folder, "notebooks")


@needs_make
@pytest.mark.parametrize("command", ["test", "notebooks"])
def test_make_shares_the_cores(tmp_path: Path, command: str) -> None:
    """Spinning threads of two notebooks took 26 minutes for what takes five; who knows may say."""
    shared = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if shared else os.sysconf("SC_NPROCESSORS_ONLN")
    for given, expected in (
        ({}, max(1, cores // 2)),
        ({"JOBS": "1"}, cores),
        ({"JOBS": str(cores + 1)}, 1),
        ({"JOBS": "auto"} if command == "test" else {"JOBS": str(cores)}, 1),  # pytest's own word
        ({"OMP_NUM_THREADS": "7"}, 7),
    ):
        told = re.findall(r"(?m)^threads: (.*)$", run_make(tmp_path, command, **given))
        assert told
        assert set(told) == {str(expected)}


@needs_make
def test_make_leaves_the_threads_of_one_reader_alone(tmp_path: Path) -> None:
    assert set(re.findall(r"(?m)^threads: (.*)$", run_make(tmp_path, "lab"))) == {""}


@needs_make
def test_make_geometries_runs_both(tmp_path: Path) -> None:
    told = run_make(tmp_path / "with space", "geometries")
    folders = [str(tmp_path / "with space" / "build" / "random" / g) for g in ("sd1", "sd2")]
    assert re.findall(r"(?m)^checkpoint: (.+)$", told) == folders


def test_links_become_copies_where_links_are_not_allowed(tmp_path: Path, monkeypatch) -> None:
    def forbidden(*_: object) -> None:
        raise OSError("a required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", forbidden)
    link(tmp_path / "config.json", EMOJI / "config.json")
    assert (tmp_path / "config.json").read_bytes() == (EMOJI / "config.json").read_bytes()
    assert not (tmp_path / "config.json").is_symlink()


def test_notice_names_every_source() -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    for name in ("Noto", "FxEmojis", "Fluent", "Twemoji", "EmojiOne", "emojibase", "MiniLM"):
        assert name.lower() in notice.lower(), name
    for licence in ("MIT", "Apache-2.0", "CC BY 4.0"):
        assert licence in notice
    for file in (ROOT / "helpers" / "data").glob("*.*"):
        assert file.suffix == ".md" or f"helpers/data/{file.name}" in notice
    assert "Noto Emoji, and Noto Emoji version 1. Copyright Google Inc. Apache-2.0" in notice
    for file in re.findall(r"(?:helpers|training)/[\w./-]*\w", notice):
        assert (ROOT / file).exists(), file


def test_the_code_of_the_readme_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code, drawing = re.findall(r"(?s)```python\n(.*?)```", readme)
    exec(code, {})
    shapes, answer = capsys.readouterr().out.splitlines()
    assert shapes.startswith("Embeddings(last_hidden_state (3, 77, ")
    assert answer in helpers.load_artwork().names
    assert f"{len(helpers.load_artwork()):,} drawings" in code
    space: dict[str, object] = {}
    monkeypatch.chdir(tmp_path)  # it saves a picture
    exec(drawing, space)
    assert (tmp_path / "fox-frog.png").exists()
    (picture,) = space["pictures"]
    assert picture.size == (64, 64)
