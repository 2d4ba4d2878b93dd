"""How fast it is, beside what others do: ``python -m tools.bench`` writes ``docs/speed.md``."""
