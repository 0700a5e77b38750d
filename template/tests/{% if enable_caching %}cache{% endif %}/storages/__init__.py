"""What the cache's promises are tested on; each module here opens one storage.

The names of fastapi-cache2's own backends begin with "stock".
"""
