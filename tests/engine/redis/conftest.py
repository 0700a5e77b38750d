from tests.engine.redis.forwarder import forwarder

__all__ = ["forwarder"]
