"""Data sets on disk: manifest, shards, and the class that reads them."""
