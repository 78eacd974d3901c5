"""What crosses the border of the process: secrets masked, URLs, child processes, JSON from outside."""
