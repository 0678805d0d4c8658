"""The `provenance` file: where a volume came from, in the shape that CloudVolume reads.

It says what shaped the data and nothing else: no time, host, thread count or memory, so that the
same source and options always give the same bytes.

https://github.com/seung-lab/cloud-volume/wiki/Provenance-Files
"""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version


def provenance_json(sources: Sequence[str], parameters: Mapping[str, object]) -> bytes:
    """Return the content of a `provenance` file.

    Parameters
    ----------
    sources : sequence of str
        Names of the inputs, without the folders they lie in.
    parameters : mapping
        The options that shaped the data; values that JSON can hold.
    """
    document = {
        "sources": list(sources),
        "owners": [],
        "processing": [
            {
                "method": {
                    "task": "ngcore convert",
                    "version": version("ngcore-neuroglancer"),
                    **parameters,
                },
                "by": "",
            }
        ],
        "description": "",
    }
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
