"""Features that are read when they are needed, because they are larger than memory."""
