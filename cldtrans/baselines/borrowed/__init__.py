"""Published networks as braindecode (BSD-3-Clause) has them, one file each.

An adapter says which channels the original expects and where ours go, its sampling rate, scaling and patches,
how a checkpoint of the original names its tensors, and what is known of the data that checkpoints saw.
Needs the extra `baselines`.
"""
