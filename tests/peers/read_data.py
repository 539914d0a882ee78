"""Read an export of `ds2 data export` with the library of its format; print a JSON object per row.

python read_data.py hf-audiofolder|nemo DIR
"""

import importlib.util
import json
import sys
import tempfile
import types
from pathlib import Path


def read_audiofolder(folder):
    """The rows with the samples that the library finds for each."""
    import datasets
    import soundfile

    with tempfile.TemporaryDirectory() as cache:
        found = datasets.load_dataset("audiofolder", data_dir=folder, split="train", cache_dir=cache)
        for row in found.cast_column("audio", datasets.Audio(decode=False)):
            path = row.pop("audio")["path"]
            yield {**row, "frames": soundfile.info(path).frames}


def read_nemo(folder):
    """The items of NeMo's own iterator; the packages around its module would import all of NeMo."""
    root = Path(importlib.util.find_spec("nemo").origin).parent
    name = "nemo"
    for part in ("collections", "common", "parts", "preprocessing"):
        name = f"{name}.{part}"
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(root.joinpath(*name.split(".")[1:]))]
    from nemo.collections.common.parts.preprocessing import manifest

    yield from manifest.item_iter(str(Path(folder, "manifest.json")))


if __name__ == "__main__":
    for row in {"hf-audiofolder": read_audiofolder, "nemo": read_nemo}[sys.argv[1]](sys.argv[2]):
        print(json.dumps(row))
