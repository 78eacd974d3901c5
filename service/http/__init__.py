"""The HTTP side: routes, who may use them, limits, and what goes wrong."""
