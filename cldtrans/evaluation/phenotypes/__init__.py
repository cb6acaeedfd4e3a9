"""Phenotypes: groups of persons in a model's embeddings, as far as they are found again."""
