"""Semi-supervised action quality assessment: models, losses, one trainer, a ledger of runs.

The rooms, top to bottom; a room imports only from rooms below it:
cli > study > figures > training > methods > models > losses > evaluation > data > chance, errors.
"""

__version__ = "0.1.0"
