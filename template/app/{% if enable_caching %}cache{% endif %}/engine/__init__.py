"""How the cache works. `docs/reading.md` of the template leads through it.

Nothing here knows the service: of `app`, it imports only itself. A *cache* looks up,
stores and invalidates over a *store*; an *exchange* is what a request has to do with
it; a *cached route* decides what an answer depends on.
"""
