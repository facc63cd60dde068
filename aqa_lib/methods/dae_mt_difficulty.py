"""DAE-MT as published: the difficulty of a dive is known at test, too (aqa_lib/methods/dae_mt.py has the rest).

    score = d (mu_(3) + mu_(4) + mu_(5)),    d the true difficulty

It answers another question than methods that see the video alone, so no comparison of all methods has it: it is asked
for by its name, beside `musdl_difficulty` and the guess from the difficulty.
"""

from aqa_lib.methods.dae_mt import MultiTask


class WithDifficulty(MultiTask):
    title = "DAE-MT, with difficulty"
    compared = False
    told = True
    variants = {"DAE-MT, with difficulty": {}, "DAE-MT, likelihood, with difficulty": {"loss": "likelihood"}}


METHOD = WithDifficulty()
