"""A service whose cache is in its memory."""
