"""The index in Qdrant: collections, points, filters, and how a new version takes the old one's place."""
