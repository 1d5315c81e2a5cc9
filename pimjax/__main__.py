"""`python -m pimjax` is the `pimjax` command."""

import sys

from pimjax.cli import main

if __name__ == "__main__":
    sys.exit(main())
