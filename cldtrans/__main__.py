"""`python -m cldtrans <command>`, the same as the installed `cldtrans`."""

from cldtrans.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
