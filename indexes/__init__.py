"""Adapters that store and find: Qdrant, its embedded engine, embedders, the sparse encoder."""
