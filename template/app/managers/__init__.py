"""The rules: what may be done, by whom, and what follows from it."""
