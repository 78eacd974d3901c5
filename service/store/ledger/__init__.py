"""What is indexed of each source: the port, its SQL store, and a ledger in memory for tests."""
