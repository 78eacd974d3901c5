"""From passages to an answer: writing it, checking its citations, quoting where nothing writes."""
