"""What a sweep has on disk while it has not ended."""
