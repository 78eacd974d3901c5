"""Starting vLLM: what a model needs, how it is spread over GPUs, the command, and running it (`citewell engine`)."""
