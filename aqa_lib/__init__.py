"""Semi-supervised action quality assessment: models, losses, one trainer, a ledger of runs.

The rooms, top to bottom; a room imports only from rooms below it: commands > report > batch > study > ledger >
figures > training > methods > models > losses > tasks > evaluation > published > data > settings > chance, errors.
"""

__version__ = "0.1.0"
