"""`python -m minicfg` is the command `minicfg`."""

from minicfg.cli import main

if __name__ == "__main__":
    main()
