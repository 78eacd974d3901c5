"""One table: the statements that read it, and the rows that they give."""
