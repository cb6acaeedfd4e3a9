"""One module a command: a one-line docstring, `add_args(parser)` and `run(args)`."""
