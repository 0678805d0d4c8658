"""`python -m ngcore`, for where the command `ngcore` is not on the path."""

from ngcore.cli import main

if __name__ == "__main__":
    main()
