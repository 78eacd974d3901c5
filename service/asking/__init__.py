"""Answering a question with the parts of a deployment."""
