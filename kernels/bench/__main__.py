"""Run `python -m kernels.bench`."""

import sys

from kernels.bench.run import main

if __name__ == "__main__":
    sys.exit(main())
