"""Runs the command line in processes of their own that start at once: each is a fork of this one.

Reads lines of JSON, the arguments, and answers each with a process id; `wait` answers with the
status of the last one, negative for a signal.
"""

import json
import os
import sys

import ngcore.conversion.convert
import ngcore.repairing.repair
import ngcore.sources.volumes.gzip_stream
import ngcore.sources.volumes.nifti
import ngcore.sources.volumes.npy  # noqa: F401
from ngcore.cli import run


def main() -> None:
    child = 0
    for line in sys.stdin:
        if line == "wait\n":
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
            continue
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the answers go that way
            os._exit(run(json.loads(line)))
        print(child, flush=True)


main()
