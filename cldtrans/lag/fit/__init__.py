"""The LD-SEM estimator: `fit_ldsem`."""
