"""`python -m aqa_lib` is the command `aqa`."""

import sys

from aqa_lib.cli import main

if __name__ == "__main__":
    sys.exit(main())
