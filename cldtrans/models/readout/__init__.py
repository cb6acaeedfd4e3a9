"""What a linear probe sees of a window: events, codes and covariances, each a block of its own."""
