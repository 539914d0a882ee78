"""A trained experiment opened for use: vocabulary, network, emissions, decoder."""
