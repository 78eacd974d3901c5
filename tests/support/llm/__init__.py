"""Stand-ins for the language model: servers, and an HTTP transport without a network."""
