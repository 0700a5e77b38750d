"""The response cache, over each of its storages."""
