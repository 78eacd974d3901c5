"""The prompt: what it holds, in which order, and how it fits to the token."""
