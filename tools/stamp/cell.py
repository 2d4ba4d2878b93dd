# @title Find helpers, install what is missing
ADDRESS = ""  # of the repository; make stamp writes it
NEEDED = """
"""


class Stop(Exception):
    """Ends the run with a sentence instead of a traceback."""

    def _render_traceback_(self):
        return [str(self)]


def set_up(name="from-prompt-to-embedding"):
    import os
    import subprocess
    import sys
    from importlib.metadata import PackageNotFoundError, version
    from pathlib import Path
    from zipfile import BadZipFile, ZipFile

    from packaging.requirements import Requirement

    here = [Path.cwd(), Path("/content")]  # Colab puts into the second what is uploaded

    def root():
        """Where helpers lies: where Python looks, in a checkout above, or unpacked here."""
        unpacked = (p for h in here for p in [h / name, *h.glob(f"{name}/*")])
        places = [*map(Path, sys.path), *here, *here[0].parents, *unpacked]
        return next((p for p in places if (p / "helpers/models/emoji").is_dir()), None)

    def run(*command):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().split("\n")[-1]
            raise Stop(f"`{' '.join(map(str, command[-3:]))}` did not work: {said}")

    def lacks(requirement):
        try:
            return not requirement.specifier.contains(version(requirement.name))
        except PackageNotFoundError:
            return True

    if sys.version_info < (3, 11):  # noqa: UP036
        raise Stop("Python 3.11 or newer is needed: choose a kernel that has it.")
    packed = [p for end in ("whl", "zip") for h in here for p in h.glob(f"from?prompt*.{end}")]
    try:
        if not root() and packed:
            ZipFile(packed[0]).extractall(name)  # a wheel is a zip file, too
        elif not root() and ADDRESS:
            run("git", "clone", "--depth=1", ADDRESS, name)
    except (OSError, BadZipFile) as problem:
        raise Stop(f"The package of this series could not be fetched: {problem}.") from None
    if not root():
        raise Stop(
            "The package of this series, helpers, is not here. Put its wheel or a zip file of the "
            "repository (from-prompt….zip) beside this notebook (on Colab: upload it), and run "
            "this cell again."
        )
    sys.path.insert(0, str(root()))
    os.environ["PYTHONPATH"] = str(root())  # for what a notebook starts
    if missing := [r for r in map(Requirement, NEEDED.split()) if lacks(r)]:
        run(sys.executable, "-m", "pip", "install", "-q", *map(str, missing))
        if any(requirement.name in sys.modules for requirement in missing):
            raise Stop("Packages were renewed: restart the kernel, then run this cell again.")

    import torch

    import helpers

    if not hasattr(helpers, "load_clip"):
        raise Stop("Another module called helpers came first: restart the kernel, and begin here.")
    mps = torch.backends.mps.is_available()
    device = "CUDA" if torch.cuda.is_available() else "MPS" if mps else "CPU"
    versions = [f"{p} {version(p)}" for p in ("torch", "transformers", "diffusers")]
    python = sys.version.split()[0]
    print(f"helpers {helpers.__version__}, Python {python},", ", ".join(versions), "on", device)


set_up()
