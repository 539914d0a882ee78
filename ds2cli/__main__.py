"""The program `ds2`, also as `python -m ds2cli`."""

from ds2cli.cli.main import main
from ds2cli.processes import end_process


def run() -> None:
    """Run the command of sys.argv, and end the process with its status."""
    try:
        main()
    except SystemExit as e:
        if isinstance(e.code, str):
            raise
        end_process(e.code or 0)


if __name__ == "__main__":
    run()
