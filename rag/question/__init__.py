"""What a question asks for, and whether there is evidence for it."""
