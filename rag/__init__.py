"""The core: domain types, ports, and pure logic. Imports nothing else of Citewell's."""
