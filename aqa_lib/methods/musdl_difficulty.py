"""MUSDL as published: the difficulty of a dive is known at test, too (aqa_lib/methods/musdl.py has the rest).

    score = d (a_(3) + a_(4) + a_(5)),    a the likeliest awards of seven judges, d the true difficulty

It answers another question than methods that see the video alone, so no comparison of all methods has it: it is asked
for by its name, beside `dae_mt_difficulty` and the guess from the difficulty.
"""

from aqa_lib.methods.musdl import JudgeDistributions


class WithDifficulty(JudgeDistributions):
    title = "MUSDL, with difficulty"
    compared = False
    told = True
    variants = {
        "MUSDL, with difficulty": {},
        "MUSDL, expectation, with difficulty": {"output": "expectation"},
    }


METHOD = WithDifficulty()
