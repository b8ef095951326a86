"""What lies on disk: manifest, shards, and a data set that reads them."""
