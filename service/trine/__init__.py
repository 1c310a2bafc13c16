"""Trine: a gRPC inference microservice for transformers of all three families."""

__version__ = "0.1.0"
