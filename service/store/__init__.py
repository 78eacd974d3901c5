"""The state store: what was indexed and what could not be, leases, jobs, keys, conversations."""
