"""What is read at a point: one small reader per file; recipes enable or disable each."""
