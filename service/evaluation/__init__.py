"""Measuring retrieval with questions whose answers are known."""
