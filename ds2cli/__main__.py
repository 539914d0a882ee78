"""The program `ds2`, also as `python -m ds2cli`."""

import sys


def run() -> None:
    """Run the command of sys.argv, and end the process with its status."""
    if sys.platform == "win32":
        sys.exit("ds2: needs Linux or macOS: on Windows, install and run it in WSL (wsl --install)")
    # not above: each process that a command starts imports this module again
    try:
        from ds2cli.cli.main import main
        from ds2cli.processes import end_process
    except KeyboardInterrupt:
        sys.stderr.write("ds2: interrupted\n")
        sys.exit(130)

    status = 0
    try:
        main()
    except SystemExit as e:
        if isinstance(e.code, str):
            raise
        status = e.code or 0
    # outside the handler: the exception holds every frame, whose generators could not clean up
    end_process(status)


if __name__ == "__main__":
    run()
