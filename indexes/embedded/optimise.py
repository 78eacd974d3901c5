"""Optimises one shard's folder, in a process of its own: qdrant-edge holds the GIL for the minute that it takes.

python -m indexes.embedded.optimise SHARD_FOLDER
"""

import os
import sys

import qdrant_edge as qe

if __name__ == "__main__":
    os.nice(10)
    shard = qe.EdgeShard.load(sys.argv[1])
    shard.optimize()
    shard.flush()
    shard.close()
