"""A service whose cache is in Redis."""
