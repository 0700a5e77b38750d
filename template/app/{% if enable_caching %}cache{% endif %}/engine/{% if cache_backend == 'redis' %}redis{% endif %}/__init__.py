"""The cache in Redis or Valkey, and what is done while that does not work."""
