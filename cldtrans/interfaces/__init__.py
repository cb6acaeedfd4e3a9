"""The library in the forms that others expect: scikit-learn's estimators, torch's datasets."""
