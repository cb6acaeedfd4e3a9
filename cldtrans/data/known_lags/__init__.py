"""Recordings whose delays, directions or sources are known from elsewhere: physics, a map, clinicians."""
