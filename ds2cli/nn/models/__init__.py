"""Networks: one file per kind, found by its file name, the setting `model.kind`.

A kind is a module with these names; everything else calls them through `nn/network.py`.

    Config                          NetworkConfig with the settings of this kind; `kind` defaults to the file name
    Model(config, symbols, bins)    Network for V = `symbols` outputs and F = `bins` features per frame
"""

from ds2cli import plugins

__path__.extend(plugins.search_path("models"))
