"""An executor whose items go through pickles, as to another machine."""

from __future__ import annotations

import pickle

from ngcore.work.serial import SerialExecutor


class ElsewhereExecutor(SerialExecutor):
    """Carries out each item in this process, as a copy, and gives a copy of the result back."""

    is_local = False

    def everywhere(self, function, *arguments):
        function, arguments = pickle.loads(pickle.dumps((function, arguments)))
        return super().everywhere(function, *arguments)

    def results(self, function, items):
        for item in items:
            yield pickle.loads(pickle.dumps(function(pickle.loads(pickle.dumps(item)))))
