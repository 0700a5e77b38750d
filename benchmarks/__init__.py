"""The rendered service's cache beside its peers: `uv run python -m benchmarks`."""
