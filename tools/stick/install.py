"""Install the series from this folder, without a network: ``python3 install.py [FOLDER]``.

FOLDER is where it goes, ``from-prompt-to-embedding`` in your home folder if you name none. What is
there already is kept: run it again after an interruption.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

STICK = Path(__file__).resolve().parent
REPOSITORY, WHEELS = "from-prompt-to-embedding", "wheels"
BUILDER = "editables"  # hatchling wants it for pip install --editable


def systems(wheels):
    """What torch's wheels are for, as a reader would say it: every system needs one of these."""
    kinds = {"win": "Windows", "macosx": "macOS", "manylinux": "Linux"}
    names = set()
    for wheel in wheels.glob("torch-*.whl"):
        python, _, system = wheel.stem.split("-")[-3:]
        kind = next((name for key, name in kinds.items() if system.startswith(key)), system)
        machine = system.replace("x86_64", "x86-64").rpartition("_")[2]
        names.add(f"Python 3.{python[3:]}, {kind} ({machine})")
    return sorted(names)


def run(*command):
    """Run a command of the new environment, or end with its code."""
    # the settings of this computer's pip may name an index, and there is no network
    code = subprocess.run(command, env={**os.environ, "PIP_CONFIG_FILE": os.devnull}).returncode
    if code:
        sys.exit(f"\nThat did not work. {what_fits()}")


def what_fits():
    """This Python, and those that there are packages for."""
    there = "\n  ".join(systems(STICK / WHEELS)) or "nothing"
    return (
        f"This is Python {platform.python_version()} on {platform.system()} "
        f"({platform.machine()}); this folder has packages for\n  {there}"
    )


def main():
    """Copy, make an environment, fill it, look whether all is well."""
    mine = f"Python {sys.version_info[0]}.{sys.version_info[1]},"
    if not any(name.startswith(mine) for name in systems(STICK / WHEELS)):
        sys.exit(f"No packages for this one. {what_fits()}")
    target = Path(sys.argv[1] if len(sys.argv) > 1 else Path.home() / REPOSITORY).resolve()
    if not (target / "pyproject.toml").exists():
        if target.exists() and any(target.iterdir()):
            sys.exit(f"{target} holds something else; name a new folder: install.py FOLDER")
        print(f"Copying to {target}")
        part = target.with_name(target.name + ".part")  # under its own name it is whole
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(STICK / REPOSITORY, part)
        shutil.rmtree(target, ignore_errors=True)  # it is empty
        part.rename(target)
    print("Installing; pip prints nothing for some minutes.", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(target / ".venv")], check=True)
    programs = target / ".venv" / ("Scripts" if os.name == "nt" else "bin")
    python = str(programs / "python")
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index")
    find = ("--find-links", str(STICK / WHEELS))
    run(*pip, *find, "--requirement", str(target / "requirements.txt"), BUILDER)
    run(*pip, "--no-deps", "--no-build-isolation", "--editable", str(target))
    run(python, "-c", "import matplotlib.font_manager")
    (target / ".venv" / ".ready").touch()  # so make, where there is one, does not install again
    os.chdir(target)
    run(python, "-m", "helpers", "doctor")
    print(f"\nTo start:\n  cd {target}")
    print(f"  {programs.relative_to(target) / 'python'} -m jupyterlab", end="")
    print(" --LabApp.default_url=/lab/tree/notebooks")


if __name__ == "__main__":
    main()
