"""What the slow lanes are made of: the noise of processors, the random transactions."""
