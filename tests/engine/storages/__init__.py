"""What the cache's promises are tested on; each module here opens one store."""
