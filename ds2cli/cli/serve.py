"""`ds2 serve EXP`."""

from __future__ import annotations

from ds2cli import ui
from ds2cli.cli.lib.options import Exp, with_config
from ds2cli.config.serve import ServeConfig
from ds2cli.errors import UsageError


@with_config(ServeConfig)
def serve(config: ServeConfig, exp: Exp) -> None:
    """Serve a network to programs and browsers: live streams over WebSocket, and uploaded recordings over HTTP.

    Prints the address and how many live streams it accepts, then a line per stream and upload (on standard error).
    Clients of OpenAI's transcriptions (http://HOST:2700/v1) and of Vosk's server (ws://HOST:2700) work as they are;
    http://HOST:2700 is a page with a microphone. Ctrl-C or SIGTERM lets open streams finish. Live text needs a
    forward-only network. The guide: ds2cli/serve/README.md.

    Example: ds2 serve base.ds2

    Example: ds2 serve exp/streaming --lm exp/streaming/lm.arpa --port 8080

    Example: ds2 serve base.ds2 --host 0.0.0.0 --token-file tokens --ssl-certfile cert.pem --ssl-keyfile key.pem
    """
    try:
        from ds2cli.serve.capacity import prepare
        from ds2cli.serve.guard import check_settings
        from ds2cli.serve.log import connect_log
        from ds2cli.serve.server import check_address, run
        from ds2cli.serve.service import Service
    except ModuleNotFoundError as e:
        raise UsageError(f"ds2 serve needs the package {e.name} (pip install 'ds2cli[serve]')") from e

    with connect_log(ui.log, ui.warn):
        check_settings(config)
        check_address(config)
        service = Service(config, exp, ui.warn)
        prepare(service, lambda line: ui.log(f"serve: {line}"))
        run(service, lambda address: ui.log(f"serve: {address}, up to {service.limit} streams"))
