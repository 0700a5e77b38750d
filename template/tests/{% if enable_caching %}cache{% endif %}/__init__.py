"""What clients and the owner see of the response cache, and nothing of how it works."""
