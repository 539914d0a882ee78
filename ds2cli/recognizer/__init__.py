"""A trained experiment, opened for use: network, emissions, decoder."""
