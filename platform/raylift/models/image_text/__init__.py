"""Two towers trained on captioned images: a small stand-in for CLIP, from a collection of our own."""
