"""`python -m ds2cli` runs `ds2`."""

from ds2cli.cli.main import main

if __name__ == "__main__":
    main()
