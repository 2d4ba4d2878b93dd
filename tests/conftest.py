"""What the tests share: the shipped CLIP, its variants, and two checkpoints of true geometry."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

# No test asks the network; a reader's own choice of checkpoint does not change what is tested.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("CLIP_CHECKPOINT", None)
os.environ["TQDM_DISABLE"] = "1"  # a slow machine would show bars that no stored output has

import pytest
import torch
from hypothesis import settings
from random_checkpoint import EMOJI, ROOT, link, save_checkpoint, words_of_sd2

# The stored outputs were made on a CPU, in float32; CUDA's float16 would print other roundings. So
# the notebooks' kernels, which get this process's environment, see no GPU. CUDA is started and its
# devices are counted here before that, so the unit tests of this process still have theirs.
if torch.cuda.is_available():
    torch.cuda.init()
    torch.cuda.device_count()  # torch keeps the first answer it gets after init
os.environ["CUDA_VISIBLE_DEVICES"] = ""

sys.path.insert(0, str(ROOT))

# derandomize: the same examples every time, so that a red run can be repeated
settings.register_profile("series", deadline=None, derandomize=True, max_examples=200)
settings.register_profile("few", settings.get_profile("series"), max_examples=20)  # for mutmut
settings.load_profile("series")


# another process may be writing there while a folder is copied
COMPILED = shutil.ignore_patterns("__pycache__")


@pytest.fixture(scope="session")
def known() -> dict[str, Any]:
    return json.loads((ROOT / "tests" / "known_answers.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def clip():
    from helpers import load_clip

    return load_clip("emoji", device="cpu")


@pytest.fixture
def link_folder(tmp_path: Path) -> Callable[..., Path]:
    """Make a copy of the shipped folder in which named files are replaced (str) or left out."""

    def build(name: str = "copy", *, without: tuple[str, ...] = (), **texts: str) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for file in EMOJI.iterdir():
            if file.is_file() and file.name not in without:
                link(folder / file.name, file)
        for stem, text in texts.items():
            target = folder / f"{stem}.json"
            target.unlink(missing_ok=True)
            target.write_text(text, encoding="utf-8")
        return folder

    return build


@pytest.fixture(scope="session")
def clip_sd2_words(clip, tmp_path_factory: pytest.TempPathFactory):
    """The shipped CLIP with Stable Diffusion 2's tokenizer."""
    from transformers import CLIPTokenizerFast

    folder = tmp_path_factory.mktemp("sd2_words")
    words_of_sd2(folder)
    return replace(clip, tokenizer=CLIPTokenizerFast.from_pretrained(str(folder)))


@pytest.fixture(scope="session")
def sd1_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint("sd1", tmp_path_factory.mktemp("sd1"))


@pytest.fixture(scope="session")
def sd2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint("sd2", tmp_path_factory.mktemp("sd2"))


@pytest.fixture(scope="session", params=["emoji", "sd1", "sd2"])
def any_clip(request: pytest.FixtureRequest) -> Any:
    """The shipped CLIP, and a seeded random one of each true geometry, through load_clip."""
    if request.param == "emoji":
        return request.getfixturevalue("clip")
    from helpers import load_clip

    return load_clip(request.getfixturevalue(f"{request.param}_folder"), device="cpu")


SITE = Path(sysconfig.get_paths()["purelib"])
OURS = ("ftfy", "__editable__", "_editable", "from_prompt_to_embedding", "helpers")


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the packages of this one, but not ours, nor ftfy, which it can install."""
    folder = tmp_path_factory.mktemp("python")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    where = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    own = Path(subprocess.check_output([python, "-c", where], text=True).strip())
    for entry in SITE.iterdir():
        if not entry.name.startswith(OURS) and entry.suffix != ".pth":
            (own / entry.name).symlink_to(entry)
    # ftfy as a wheel in a folder, so that it can be installed without a network
    wheels = folder / "wheels"
    wheels.mkdir()
    (info,) = SITE.glob("ftfy-*.dist-info")
    with ZipFile(wheels / f"{info.name.removesuffix('.dist-info')}-py3-none-any.whl", "w") as wheel:
        for part in (SITE / "ftfy", info):
            for file in part.rglob("*"):
                if "__pycache__" not in file.parts and file.is_file():
                    wheel.write(file, file.relative_to(SITE))
    return python
