"""`python -m kernels.inspection`."""

import sys

from kernels.inspection.inspect import main

if __name__ == "__main__":
    sys.exit(main())
