"""Benchmarks of vLLM on a GPU, one script a table; docs/vllm.md says how to run them on a machine of one's own.

They need Python with vLLM, and of this repository only what is imported here. Without weights (`--load-format dummy`)
the speed is that of real ones; what is written is noise.
"""
