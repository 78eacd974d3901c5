"""Attacks on what must not leak: labels, secrets, rights, children (make test-security)."""
