"""Embedding models: in this process, and behind an endpoint."""
