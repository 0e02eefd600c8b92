"""`python -m minicfg` runs the command line, like the program `minicfg`."""

from minicfg.cli.main import main

if __name__ == "__main__":
    main()
