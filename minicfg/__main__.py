"""`python -m minicfg` is the command `minicfg`."""

from minicfg.cli.main import main

if __name__ == "__main__":
    main()
