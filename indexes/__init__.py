"""Adapters that store and find: Qdrant, its embedded engine, embedders, the sparse encoder."""

import os

# ONNX Runtime reads it as it is imported: without it, events are queued in the user's cache for its maker.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
