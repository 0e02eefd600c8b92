"""Run `python -m kernels.inspection`."""

import sys

from kernels.inspection.compile import main

if __name__ == "__main__":
    sys.exit(main())
