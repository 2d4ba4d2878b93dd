"""The papers beside the code: contributing, changes, and what other services run."""

from __future__ import annotations

import re

import pytest
import yaml
from conftest import ROOT

import helpers


def pin(name: str) -> str:
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    return re.search(rf"(?m)^{name}==(\S+)$", text)[1]


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "CHANGELOG.md"])
def test_links(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        assert (ROOT / target).exists(), target
    for file in re.findall(r"`((?:tests|helpers|notebooks|training)/[\w./]+)`", text):
        assert (ROOT / file).exists(), file


def test_changelog_has_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## {helpers.__version__}\n" in text
    assert text.index("## Unreleased") < text.index(f"## {helpers.__version__}")


def test_contributing_names_commands_that_make_has() -> None:
    phony = re.search(r"(?m)^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"))
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?m)(?:^|`)make (\w+)", text))
    assert {"test", "format", "notebooks"} <= named <= set(phony[1].split())


def test_github_runs_the_two_commands_of_the_readme() -> None:
    text = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    steps = yaml.safe_load(text)["jobs"]["test"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == ["make notebooks", "make test"]


def test_hooks_are_the_pinned_ruff_and_nothing_that_strips_outputs() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    (repository,) = yaml.safe_load(text)["repos"]
    assert repository["repo"].endswith("/ruff-pre-commit")
    assert repository["rev"] == f"v{pin('ruff')}"
    assert {hook["id"] for hook in repository["hooks"]} == {"ruff-check", "ruff-format"}
