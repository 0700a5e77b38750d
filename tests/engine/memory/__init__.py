"""The cache in the memory of the only process."""
