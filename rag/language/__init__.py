"""What differs from language to language: letters, words, tokens."""
