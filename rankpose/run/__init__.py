"""One run: where it lies, what it was told, how it ended, and what it leaves on the disk."""
