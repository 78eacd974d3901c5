"""Proxies that count or fail, and an OpenID Connect provider."""
