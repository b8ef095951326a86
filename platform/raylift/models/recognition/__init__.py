"""Multi-task networks that recognise an object: class, binned pose and outlines by a ResNet or by Mask R-CNN."""
