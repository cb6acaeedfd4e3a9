"""Baselines for times to an event: no signal, hand-made features, and a recurrent network."""
