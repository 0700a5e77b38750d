"""The pages below /admin."""
