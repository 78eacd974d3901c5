"""A batch of a source's events: grouped, sorted, compared with the ledger, embedded and stored."""
