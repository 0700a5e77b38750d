"""The engine, sessions and migrations."""
