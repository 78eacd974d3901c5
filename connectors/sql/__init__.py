"""SQL databases: what is read of them, and how rows become documents."""
