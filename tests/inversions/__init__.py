"""`make test-inversions`: deciding branches, inverted one at a time, each turn a unit test red."""
