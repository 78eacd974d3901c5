"""Context windows by scenario, in tokens."""

PROFILES = {"chat": 8_192, "document": 32_768, "log": 65_536, "book": 131_072}
