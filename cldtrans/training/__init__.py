"""Training that can be trusted with a week of a node: `run_training` and what it is made of.

The modules are imported one by one (`from cldtrans.training.loop import run_training`), so that importing
this package costs nothing.
"""
