"""`make test-install`: what a newcomer pays for, from nothing to the sample's three answers."""
