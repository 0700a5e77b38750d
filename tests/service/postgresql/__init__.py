"""A database that is a server."""
