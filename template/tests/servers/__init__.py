"""The real servers that the tests use; each module here is a pytest plugin."""
