"""The embedded engine: one process per data folder that speaks Qdrant's REST API on a Unix socket."""
