"""The language model's server: all that knows how it is spoken to."""
