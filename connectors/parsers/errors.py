"""Why a file gave no text."""


class CannotParse(Exception):
    """A file of a kind that is read, which could not be; the message says why and how to mend it."""


class Ignored(Exception):
    """A file that holds nothing to read: empty, or of a kind such as an image."""
