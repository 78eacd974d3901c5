"""Which rows of a table changed since the last read, without reading all of them."""
