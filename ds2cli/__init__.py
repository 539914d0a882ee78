"""ds2cli: Deep Speech 2 as small command-line stages connected by manifests."""

__version__ = "0.1.0"
