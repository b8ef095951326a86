"""Self-supervised co-part segmentation (SCOPS): which pixels of an object are which part, without any labels."""
