"""Networks: one file per kind, found by its name. The setting `model.kind` is that name.

A kind is a module with these names; everything else uses them through `nn/network.py` and `config/model.py`.

    Config                          subclass of NetworkConfig: the settings, all with defaults; the default of `kind` is
                                    the file name; the properties `stride` and `look_ahead`
    Model(config, symbols, bins)    subclass of Network, with `forward` and `list_layers`; V = `symbols` outputs,
                                    F = `bins` features per frame. If it can compute an utterance in pieces, also
                                    `can_stream` and `stream` (nn/streaming.py has such layers); long recordings are
                                    otherwise computed in windows with context (recognizer/windows.py)

tests/house/plugins/models/dummy.py is a short example.
"""

from ds2cli import plugins

__path__.extend(plugins.search_path("models"))
