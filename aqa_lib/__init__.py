"""Semi-supervised action quality assessment: models, losses, one trainer, a ledger of runs.

    from aqa_lib import Study, answer, grid, load

The rooms, top to bottom; a room imports only from rooms below it: commands > report > batch > study > ledger >
figures > training > methods > models > losses > tasks > evaluation > published > data > settings > chance, errors.
With each of these imports a notebook's parameters are checked, see study/parameters.py.
"""

import importlib

__version__ = "0.1.0"
FACE = {"Study": "study.study", "answer": "study.answer", "grid": "study.asked", "load": "data"}  # what notebooks call


def __getattr__(name):
    """What a notebook calls, imported when it is asked for: torch takes seconds."""
    if name in FACE:
        importlib.import_module(f"{__name__}.study.parameters").check_notebook()
        return getattr(importlib.import_module(f"{__name__}.{FACE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
