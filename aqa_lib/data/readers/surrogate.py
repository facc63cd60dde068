"""The surrogate: a generative model of judged dives, with everything planted known.

Competition -> athletes -> dives. An athlete's skill and a Markov chain over the stages of a dive make the
execution; execution makes the quality; seven judges see the quality with noise, and the diving rule makes the
score. The features see execution, class, phase and nuisance through a nonlinear map that looks like pooled
post-ReLU I3D features. `AssessmentSet.truth` carries what was planted:

    execution [N, T]  of each segment, unit variance, negative = error;  stage [T]  of each segment
    skill [N]  of the athlete;  quality [N]  standardised;  level [N]  mean award before noise and rounding
    expected, score_sd [N]  mean and spread of the final score over fresh panels of judges
    judge_sd [N]  of one judge;  nuisance [N, 8]  constant in a video;  class, competition [N]  indices

What the defaults rest on. Fitted to marginals of the public MTL-AQA annotations: level and noise of awards
(judge = het = 1), 15 competitions and their share of the variance of awards, difficulty and score (ev_skill,
tilt), the spread of difficulty, how often each dive is done (popularity). execution, nuisance and fast are
set so that a ridge regression on mean-pooled features ranks about as well as frozen I3D does in print, at
every size: it reaches about .4, .6 and .7 on `quick` with 10, 40 and 100 % of the labels.
Nothing published fixes rho, skill, worst and venue: they are plain middling values, to be swept. No default
was chosen for what it does to a comparison of methods.

The set's `views` are other observations of the same dives (`dives.observe`): optical flow, still frames, and frames
in three turned positions; column `caption` says in words what was dived and how.

Every part draws from a generator of its own, keyed by (seed, part): changing one option leaves the draws of the
others where they were. Scores come from elementwise arithmetic and half points, so they agree between
machines; features pass through matrix products and agree up to rounding.
"""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd

from aqa_lib.chance import key
from aqa_lib.data import dives
from aqa_lib.data.dataset import AssessmentSet
from aqa_lib.errors import UserError
from aqa_lib.processes import check_memory
from aqa_lib.settings import Setting, resolve

SIZES = {  # few features see less of everything; execution makes up for it, see above
    "quick": {"n_train": 240, "n_test": 120, "T": 10, "D": 64, "execution": 3.0},
    "small": {"n_train": 480, "n_test": 160, "T": 10, "D": 256, "execution": 1.0},
    "paper": {"n_train": 1059, "n_test": 353, "T": 10, "D": 1024, "execution": 1.0},
}


OPTIONS = {
    "size": Setting("quick", "sets n_train, n_test, T, D and execution where they are not given", choices=tuple(SIZES)),
    "seed": Setting(0, "seed of everything that is drawn", 0, 2**63 - 1),
    "n_train": Setting(None, "number of training items, labelled and not; None = by size", 6, 10**6, kind=int),
    "n_test": Setting(None, "number of test items; None = by size", 2, 10**6, kind=int),
    "T": Setting(None, "segments of a video; None = by size", 2, 1000, kind=int),
    "D": Setting(None, "features of a segment; None = by size", 1, 65536, kind=int),
    "stages": Setting(None, "stages of a dive, at most T; None = one a segment", 1, 1000, kind=int),
    "rho": Setting(0.6, "how far an error lives on into the next stage, coefficient of an AR(1)", 0.0, 0.99),
    "skill": Setting(0.3, "share of the athlete's skill in the variance of each stage", 0.0, 1.0),
    "ev_skill": Setting(0.3, "share of the competition's field in the variance of skill", 0.0, 1.0),
    "worst": Setting(0.3, "weight of the worst stage beside the weighted mean of all", 0.0, 10.0),
    "competitions": Setting(15, "competitions; their names are the groups", 1, 200),
    "classes": Setting(24, "kinds of dive", 1, 60),
    "popularity": Setting(0.8, "Zipf exponent of the kinds; 0 = all alike", 0.0, 5.0),
    "tilt": Setting(1.0, "how much stronger fields choose harder dives", 0.0, 3.0),
    "judge": Setting(1.0, "noise of the judges, 1 = as in MTL-AQA; 0 = they agree", 0.0, 20.0),
    "het": Setting(1.0, "extra noise for middling dives, 1 = as in MTL-AQA; 0 = alike for all", 0.0, 20.0),
    "execution": Setting(None, "how visible execution is in the features; None = by size", 0.0, 20.0, kind=float),
    "nuisance": Setting(1.0, "strength of camera, venue and body, constant in a video", 0.0, 20.0),
    "venue": Setting(0.5, "share of the competition in the variance of the nuisance", 0.0, 1.0),
    "fast": Setting(1.0, "strength of the nuisance that changes from segment to segment", 0.0, 20.0),
    "unseen": Setting(0, "so many of the rarest kinds are never labelled", 0, 59),
    "selection": Setting(0.0, "how much likelier a better dive is to be labelable", 0.0, 1.0),
    "labelled": Setting(None, "only so many competitions may be labelled; None = all", 1, 200, kind=int),
    "shift": Setting(0.0, "camera shift of the competitions that `labelled` leaves out", 0.0, 20.0),
    "test_from": Setting("pool", "competitions that test items come from", choices=("pool", "unlabelled")),
}
WIDTH = 8  # of the nuisance
WHERE = "data set 'surrogate'"


def check(options):
    """The options with None filled in from `size`, and held against one another."""
    options = dict(options)
    for name, value in SIZES[options["size"]].items():
        options[name] = value if options[name] is None else options[name]
    options["stages"] = options["T"] if options["stages"] is None else options["stages"]
    for name, limit, why in [
        ("stages", options["T"], "the number of segments T"),
        ("unseen", options["classes"] - 1, "classes less one"),
        ("labelled", options["competitions"], "the number of competitions"),
    ]:
        if options[name] is not None and options[name] > limit:
            raise UserError(f"{WHERE}: {name} is {options[name]}, above {why}: take {limit}")
    if options["labelled"] in (None, options["competitions"]):
        for name in ("shift", "test_from"):
            default = OPTIONS[name].default
            if options[name] != default:
                raise UserError(
                    f"{WHERE}: {name} acts on competitions that are not labelled, and all are: "
                    f"set labelled below {options['competitions']}, or {name} to {default!r}"
                )
    return options


def load(root=None, **options):
    """The surrogate set for these options; nothing is read from `root`."""
    options = check(resolve(WHERE, OPTIONS, options, "option"))
    k = SimpleNamespace(**options)
    n = k.n_train + k.n_test
    numbers = n * k.T * (2 * k.D + 2 * dives.HIDDEN + 50)  # features and speckle, the layer, what it sees
    check_memory(f"{WHERE}: {n} videos of {k.T} segments", 4 * numbers, "take fewer or smaller ones")

    def rng(part):
        return np.random.default_rng(key("surrogate", k.seed, part))

    # who dives what, and where
    competition, barred = _competitions(k, rng)
    field = rng("fields").standard_normal(k.competitions)
    field = (field - field.mean()) / field.std() if k.competitions > 1 else field
    athlete, own = _athletes(k, rng("athletes"), competition)
    skill = np.sqrt(k.ev_skill) * field[competition] + np.sqrt(1 - k.ev_skill) * own
    kinds = dives.dive_classes(k.classes, rng("classes"))
    hard = kinds["difficulty"].to_numpy()
    hard = (hard - hard.mean()) / (hard.std() or 1)
    zipf = np.arange(1, k.classes + 1.0) ** -k.popularity
    taste = zipf * np.exp(k.tilt * field[:, None] * hard)  # [competitions, classes]
    dive = dives.choice(taste[competition], rng("dives").random(n))
    kinds = kinds.iloc[dive].reset_index(drop=True)
    difficulty = kinds.pop("difficulty").to_numpy()

    # how well, and what the judges make of it
    execution = dives.chain(rng("chain").standard_normal((n, k.stages)), skill, k.rho, k.skill)
    quality = dives.quality_of(execution, k.worst)
    quality = (quality - quality.mean()) / quality.std()
    level = dives.award_level(quality)
    sd = dives.judge_sd(level, k.judge, k.het)
    seats = k.judge * dives.SEAT_BIAS * rng("seats").standard_normal((k.competitions, dives.SEATS))
    judges = dives.give_awards(level, sd, seats[competition], rng("judges").standard_normal((n, dives.SEATS)))
    scores = dives.diving_rule(judges, difficulty)
    expected, score_sd = dives.rejudge(level, sd, k.judge, difficulty, rng("panels"))

    # what a camera sees of it
    stage = np.arange(k.T) * k.stages // k.T  # [T]
    nuisance = _nuisance(k, rng, competition, athlete, barred)
    seen = partial(dives.observe, rng, execution[:, stage], dive, nuisance, k.D, k.execution, k.fast)

    groups = np.array([f"competition {c:02d}" for c in competition])
    table = pd.DataFrame(
        {
            "id": [f"dive-{i:05d}" for i in range(n)],
            "split": np.repeat(["train", "test"], [k.n_train, k.n_test]),
            "event": groups,
            "athlete": [f"athlete {c:02d}-{a:03d}" for c, a in zip(competition, athlete, strict=True)],
            **kinds,
            "difficulty": difficulty,
            "score": scores,
            "caption": dives.caption(kinds, execution),
            "labelable": _labelable(k, rng("labelable"), competition, dive, scores, barred),
        }
    )
    truth = {"execution": execution[:, stage], "stage": stage, "skill": skill, "quality": quality}
    truth |= {"level": level, "expected": expected, "score_sd": score_sd, "judge_sd": sd}
    truth |= {"nuisance": nuisance, "class": dive, "competition": competition}
    return AssessmentSet(
        name="surrogate",
        features=seen(),
        scores=scores,
        ids=table["id"],
        table=table,
        judges=judges,
        difficulty=difficulty,
        groups=groups,
        views={name: partial(seen, view=name) for name in dives.VIEWS},
        truth=truth,
        meta={
            "surrogate": True,
            "source": "generated by aqa_lib.data.readers.surrogate",
            "options": options,
            **dives.JUDGING,
        },
    )


def _competitions(k, rng):
    """Competition of every item [N], and which competitions may not be labelled [C]."""
    weight = rng("sizes").gamma(4.0, size=k.competitions)
    barred = np.zeros(k.competitions, dtype=bool)
    if k.labelled is not None:
        barred[np.argsort(rng("labelled").random(k.competitions))[k.labelled :]] = True
    in_test = weight if k.test_from == "pool" else weight * barred
    weights = np.repeat([weight, in_test], [k.n_train, k.n_test], axis=0)
    return dives.choice(weights, rng("competitions").random(len(weights))), barred


def _athletes(k, rng, competition):
    """Athlete's number within the competition [N], about five dives each, and the athlete's own level [N]."""
    count = np.maximum(2, np.bincount(competition, minlength=k.competitions) // 5)
    level = rng.standard_normal((k.competitions, count.max()))
    number = (rng.random(len(competition)) * count[competition]).astype(int)
    return number, level[competition, number]


def _labelable(k, rng, competition, dive, scores, barred):
    """Which items may be labelled [N]. Test items too: another split may train on them."""
    rank = np.argsort(np.argsort(scores, kind="stable")) / (len(scores) - 1)
    count = np.bincount(dive[: k.n_train], minlength=k.classes)
    rarest = [c for c in np.argsort(count, kind="stable") if count[c] > 0][: k.unseen]
    chosen = rng.random(len(scores)) >= k.selection * (1 - rank)
    return chosen & ~barred[competition] & ~np.isin(dive, rarest)


def _nuisance(k, rng, competition, athlete, barred):
    """[N, 8] constant in a video: venue from the competition, the rest half body and half camera."""
    venue = rng("venue").standard_normal((k.competitions, WIDTH))
    body = rng("body").standard_normal((k.competitions, athlete.max() + 1, WIDTH))
    camera = rng("camera").standard_normal((len(competition), WIDTH))
    own = np.sqrt((1 - k.venue) / 2) * (body[competition, athlete] + camera)
    shift = k.shift * barred[competition, None] * rng("shift").standard_normal(WIDTH)
    return k.nuisance * (np.sqrt(k.venue) * venue[competition] + own) + shift
