"""Downloads: sources, checksums, transfers."""
