"""Attacks on what must not leak, and by one party on what belongs to the others (make test-security)."""
