"""What is read at a point: one small reader a file, each of which a recipe can switch on or off."""
