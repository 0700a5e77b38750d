"""A database that is a file."""
