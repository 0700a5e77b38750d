"""What is measured: one application, and one module for each cache below it.

Each is run in an environment of its own; none of them is imported by the benchmark.
"""
