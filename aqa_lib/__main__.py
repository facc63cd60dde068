"""`python -m aqa_lib` is the command `aqa`."""

import sys

from aqa_lib.commands import main

if __name__ == "__main__":
    sys.exit(main())
