"""ONNX, for other programs and from them: export of our networks, and CTC networks of others as they are."""
