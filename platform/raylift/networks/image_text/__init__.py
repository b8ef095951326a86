"""Networks that map images and texts to one space of unit vectors: CLIP's, or a small one of our own."""
