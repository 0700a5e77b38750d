"""A rendered service under load while things happen to its Redis.

`uv run python tests/fault_tables.py` runs everything at full length and writes the
tables of docs/benchmarks.md; the normal tests run the same in short.
"""
