rule ablations:
    """Scores of the model with one of its parts taken out: overlays in the config, through the same rules."""
    input:
        PLAN.results("ablations"),
