"""One source that reaches every channel with a delay: the single-source branch of the LD-SEM."""
