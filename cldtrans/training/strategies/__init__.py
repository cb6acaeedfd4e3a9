"""Gradients for fine-tuning within a memory budget: what autograd keeps decides how large a batch may be.

`accumulate` gives the whole batch's gradient a few rows at a time. `spsa` gives one number of it from two
passes that keep nothing, and a step along it (MeZO). `fusion` joins the gradient of few rows with that number
of many. `memory` counts what autograd holds. All are functions of a loss and its parameters, for whichever
loop fine-tunes; none of them knows a loop or a config.

A *loss* is called as `loss(*rows)`, tensors with the same number of rows, and returns the mean over them.
"""
