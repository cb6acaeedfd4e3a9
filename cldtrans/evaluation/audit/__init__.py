"""Checks that do not trust the code that made an experiment: who is where, what is fed, what is fitted."""
