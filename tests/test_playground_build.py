"""Building the playground where something is missing. What is built: see test_playground.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import ROOT


def test_without_npm_one_sentence_says_so(tmp_path: Path) -> None:
    built = tmp_path / "playground"
    result = subprocess.run(
        [sys.executable, ROOT / "tools" / "playground" / "build.py", built],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("The playground is built with npm, which is not installed: ")
    assert "Traceback" not in result.stderr
    assert not built.exists()
