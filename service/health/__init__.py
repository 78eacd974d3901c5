"""Whether what the service stands on answers, and what it holds."""
