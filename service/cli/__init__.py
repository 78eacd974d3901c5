"""The `citewell` command."""
