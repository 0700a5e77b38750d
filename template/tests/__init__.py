"""What the service does, as those who use it see it."""
