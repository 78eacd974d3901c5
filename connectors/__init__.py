"""Adapters that read: SQL databases and files."""
