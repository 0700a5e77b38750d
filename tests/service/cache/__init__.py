"""What a cache does to the rest of the service."""
