"""The numbers at /metrics."""
