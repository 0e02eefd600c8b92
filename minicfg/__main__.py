"""The command `minicfg`, which is also `python -m minicfg`."""

import sys

from minicfg import missing_package


def main() -> None:
    """Run the command line, or say in one line which extra it lacks."""
    try:
        from minicfg.cli.main import main as run
    except ModuleNotFoundError as error:
        print(f"minicfg: {missing_package('the command line', error)}", file=sys.stderr)
        sys.exit(4)
    run()


if __name__ == "__main__":
    main()
