"""The surrogate: a generative model of judged dives, with everything planted known.

Competition -> athletes -> dives. An athlete's skill and a Markov chain over the stages of a dive make the
execution; execution makes the quality; seven judges see the quality with noise and the diving rule makes the
score. The features see execution, class, phase and nuisance through a nonlinear map that looks like pooled
post-ReLU I3D features. `AssessmentSet.truth` carries what was planted:

    execution [N, T]  per segment, unit variance, negative = error;  stage [T] stage of each segment
    skill [N]  the athlete's;  quality [N] standardised;  level [N] mean award before noise and rounding
    expected [N], score_sd [N]  mean and spread of the final score over 256 fresh panels of judges
    judge_sd [N]  of one judge;  nuisance [N, 8] constant in a video;  class [N], competition [N] indices

What the defaults rest on. Fitted to the marginals of the public MTL-AQA annotations: award level, the noise of
judges (judge = het = 1), competition and difficulty shares of the score, half points, 15 competitions. Not
fitted to anything, because nothing published says it: rho, skill, venue and the look of the features beyond
mean, zeros and tails. No default was chosen for what it does to a comparison of methods: sweep them.

Every part draws from a generator of its own, keyed by (seed, part): changing one knob leaves the draws of the
others where they were. Scores come from elementwise arithmetic and half points, so they agree between
machines; features pass through matrix products and agree to rounding.
"""

from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from aqa_lib.chance import key
from aqa_lib.data.dataset import AssessmentSet
from aqa_lib.errors import UserError, check_type, choose

SIZES = {
    "quick": {"n_train": 240, "n_test": 120, "T": 10, "D": 64},
    "small": {"n_train": 480, "n_test": 160, "T": 10, "D": 256},
    "paper": {"n_train": 1059, "n_test": 353, "T": 10, "D": 1024},
}


class Knob(NamedTuple):
    default: Any
    low: Any  # valid range, ends included; for a word: the choices
    high: Any
    about: str


KNOBS = {
    "size": Knob("quick", tuple(SIZES), None, "sets n_train, n_test, T and D where they are not given"),
    "seed": Knob(0, 0, 2**63 - 1, "of everything that is drawn"),
    "n_train": Knob(None, 6, 10**6, "training items, labelled and not"),
    "n_test": Knob(None, 2, 10**6, "test items"),
    "T": Knob(None, 2, 1000, "segments of a video"),
    "D": Knob(None, 1, 65536, "features of a segment"),
    "stages": Knob(None, 1, 1000, "stages of a dive, at most T; None = one a segment"),
    "rho": Knob(0.6, 0.0, 0.99, "how far an error lives on into the next stage (AR(1) coefficient)"),
    "skill": Knob(0.3, 0.0, 1.0, "share of the athlete's skill in the variance of each stage"),
    "ev_skill": Knob(0.3, 0.0, 1.0, "share of the competition's field in the variance of skill"),
    "worst": Knob(0.3, 0.0, 10.0, "weight of the worst stage beside the weighted mean of all"),
    "competitions": Knob(15, 1, 200, "competitions, whose items are the groups"),
    "classes": Knob(24, 1, 60, "kinds of dive"),
    "popularity": Knob(0.8, 0.0, 5.0, "Zipf exponent of the classes; 0 = all alike"),
    "tilt": Knob(1.0, 0.0, 3.0, "how much strong fields choose harder dives"),
    "judge": Knob(1.0, 0.0, 20.0, "noise of the judges, 1 = as in MTL-AQA; 0 = they agree up to rounding"),
    "het": Knob(1.0, 0.0, 20.0, "extra noise for middling dives, 1 = as in MTL-AQA; 0 = the same for all"),
    "execution": Knob(1.0, 0.0, 20.0, "how visible execution is in the features"),
    "nuisance": Knob(1.0, 0.0, 20.0, "strength of camera, venue and body, constant in a video"),
    "venue": Knob(0.5, 0.0, 1.0, "share of the competition in the variance of the nuisance"),
    "fast": Knob(1.0, 0.0, 20.0, "strength of nuisance that changes from segment to segment"),
    "unseen": Knob(0, 0, 59, "so many of the rarest classes are never labelled"),
    "selection": Knob(0.0, 0.0, 1.0, "how much the better dives are more likely to be labelable"),
    "labelled": Knob(None, 1, 200, "so many competitions may be labelled; None = all"),
    "shift": Knob(0.0, 0.0, 20.0, "camera shift of the competitions that `labelled` leaves out"),
    "test_from": Knob("pool", ("pool", "unlabelled"), None, "competitions that test items come from"),
}
OPTIONS = {name: knob.default for name, knob in KNOBS.items()}

SEATS = 7  # judges
PANELS = 256  # re-judgings behind `expected` and `score_sd`
HIDDEN = 128  # width of the random layer
SEAT_BIAS = 0.1  # sd of a seat's bias in a competition, in points, at judge = 1


def check(options):
    """The options with None filled in from `size`, every one within its range."""
    options = dict(options)
    for name, value in SIZES[choose("size of the surrogate", options["size"], SIZES)].items():
        options[name] = value if options[name] is None else options[name]
    options["stages"] = options["T"] if options["stages"] is None else options["stages"]
    for name, knob in KNOBS.items():
        value = options[name]
        if value is None and knob.default is None:
            continue
        if isinstance(knob.low, tuple):
            choose(f"value of the surrogate's knob {name}", value, knob.low)
            continue
        value = options[name] = check_type("data set 'surrogate'", name, value, type(knob.low)(0))
        if value is None or not knob.low <= value <= knob.high:
            nearest = knob.default if value is None else min(max(value, knob.low), knob.high)
            raise UserError(
                f"the surrogate's knob {name} ({knob.about}) lies in {knob.low}..{knob.high}, "
                f"but is {value!r}: take {nearest}"
            )
    for name, limit, why in [
        ("stages", options["T"], "the number of segments T"),
        ("unseen", options["classes"] - 1, "classes - 1"),
        ("labelled", options["competitions"], "the number of competitions"),
    ]:
        if options[name] is not None and options[name] > limit:
            raise UserError(f"the surrogate's knob {name} is {options[name]}, more than {why}: take {limit}")
    if options["labelled"] in (None, options["competitions"]):
        for name, neutral in (("shift", 0.0), ("test_from", "pool")):
            if options[name] != neutral:
                raise UserError(
                    f"the surrogate's knob {name} concerns the competitions that are not labelled, and all "
                    f"{options['competitions']} are: set labelled below that, or {name} to {neutral!r}"
                )
    return options


def load(root=None, **knobs):
    """The surrogate set for these knobs (see KNOBS); nothing is read from `root`."""
    options = check(OPTIONS | knobs)
    k = SimpleNamespace(**options)
    n = k.n_train + k.n_test
    rng = lambda part: np.random.default_rng(key("surrogate", k.seed, part))  # noqa: E731

    # who dives what, where
    classes = dive_classes(k.classes, rng("classes"))
    field = rng("fields").standard_normal(k.competitions)
    field = (field - field.mean()) / field.std() if k.competitions > 1 else field
    competition, barred = _competitions(k, rng)
    athlete, level = _athletes(k, rng("athletes"), competition)
    athlete_skill = np.sqrt(k.ev_skill) * field[competition] + np.sqrt(1 - k.ev_skill) * level
    difficulty = classes["difficulty"].to_numpy()
    centred = (difficulty - difficulty.mean()) / max(difficulty.std(), 1e-9)
    zipf = np.arange(1, k.classes + 1.0) ** -k.popularity
    taste = zipf * np.exp(k.tilt * field[:, None] * centred)  # [competitions, classes]
    dive = _choice(taste[competition], rng("dives").random(n))
    difficulty = difficulty[dive]

    # how well, and what the judges make of it
    execution = chain(rng("chain").standard_normal((n, k.stages)), athlete_skill, k.rho, k.skill)
    quality = quality_of(execution, k.worst)
    quality = (quality - quality.mean()) / quality.std()
    award = award_level(quality)
    sd = judge_sd(award, k.judge, k.het)
    bias = k.judge * SEAT_BIAS * rng("seats").standard_normal((k.competitions, SEATS))
    judges = give_awards(award, sd, bias[competition], rng("judges").standard_normal((n, SEATS)))
    scores = diving_rule(judges, difficulty)
    expected, score_sd = rejudge(award, sd, k.judge, difficulty, rng("panels"))

    # what a camera sees of it
    stage = np.arange(k.T) * k.stages // k.T  # [T]
    nuisance = _nuisance(k, rng, competition, athlete, barred)
    features = observe(k, rng, execution[:, stage], dive, nuisance)

    split = np.repeat(["train", "test"], [k.n_train, k.n_test])
    names = np.array([f"competition {c:02d}" for c in range(k.competitions)])
    table = pd.DataFrame(
        {
            "id": [f"dive-{i:05d}" for i in range(n)],
            "split": split,
            "event": names[competition],
            "athlete": [f"athlete {c:02d}-{a:03d}" for c, a in zip(competition, athlete, strict=True)],
            **{c: classes[c].to_numpy()[dive] for c in classes if c != "difficulty"},
            "difficulty": difficulty,
            "score": scores,
            "labelable": _labelable(k, rng("labelable").random(k.n_train), competition, dive, scores, barred),
        }
    )
    truth = {
        "execution": execution[:, stage], "stage": stage, "skill": athlete_skill, "quality": quality,
        "level": award, "expected": expected, "score_sd": score_sd, "judge_sd": sd, "nuisance": nuisance,
        "class": dive, "competition": competition,
    }  # fmt: skip
    return AssessmentSet(
        name="surrogate",
        features=features,
        scores=scores,
        ids=table["id"],
        table=table,
        judges=judges,
        difficulty=difficulty,
        groups=names[competition],
        truth=truth,
        meta={"surrogate": True, "source": "aqa_lib.data.surrogate", "knobs": options},
    )


def dive_classes(count, rng):
    """`count` different dives, commoner ones first, with difficulty 1.5-4.1 from their attributes."""
    shares = {  # near those of the 1412 annotated dives
        "rotation": dict(forward=0.4, back=0.25, inward=0.19, reverse=0.16),
        "somersaults": {3: 0.08, 4: 0.09, 5: 0.35, 6: 0.03, 7: 0.4, 9: 0.05},  # half somersaults
        "twists": {0: 0.72, 1: 0.03, 2: 0.05, 3: 0.14, 5: 0.06},  # half twists
        "position": dict(pike=0.5, tuck=0.4, free=0.1),
        "armstand": {False: 0.88, True: 0.12},
    }
    draws = {a: rng.choice(list(p), size=4000, p=list(p.values())) for a, p in shares.items()}
    classes = pd.DataFrame(draws).drop_duplicates(ignore_index=True)[:count]
    d = 1.75 + 0.2 * classes["somersaults"] + 0.1 * classes["twists"] + 0.2 * classes["armstand"]
    d += classes["position"].map(dict(pike=0.2, tuck=0.0, free=0.1)).astype(float)
    d += classes["rotation"].map(dict(forward=0.0, back=0.0, inward=0.1, reverse=0.1)).astype(float)
    classes["difficulty"] = d.clip(1.5, 4.1).round(1)
    stand = np.where(classes["armstand"], "armstand ", "")
    name = stand + classes["rotation"] + [f" {s}/{t} " for s, t in zip(classes["somersaults"], classes["twists"], strict=True)]
    classes.insert(0, "class", name + classes["position"])
    return classes


def chain(noise, skill, rho, share):
    """Execution q [N, S] = sqrt(share) skill + sqrt(1 - share) r, r an AR(1) over stages: unit variance.

    corr(q_s, q_t) = share + (1 - share) rho^|s-t|; both zero and no stage tells of another.
    """
    r = np.empty_like(noise)
    r[:, 0] = noise[:, 0]
    for s in range(1, noise.shape[1]):
        r[:, s] = rho * r[:, s - 1] + np.sqrt(1 - rho**2) * noise[:, s]
    return np.sqrt(share) * skill[:, None] + np.sqrt(1 - share) * r


def quality_of(execution, worst):
    """[N]: weighted mean of the stages, the entry four times the start, plus `worst` times the worst."""
    weights = 1 + 3 * np.linspace(0, 1, execution.shape[1]) ** 2
    return (execution * (weights / weights.sum())).sum(axis=1) + worst * execution.min(axis=1)


def award_level(quality):
    """Mean award of a dive, 0-10, concave in its quality (fitted to the MTL-AQA awards)."""
    return np.clip(10 - np.exp(0.96 - 0.46 * quality), 0, 10)


def judge_sd(level, judge, het):
    """Standard deviation of one judge, largest for middling dives (fitted to the MTL-AQA awards)."""
    return judge * (0.25 + 0.35 * het * np.exp(-(((level - 4.7) / 1.8) ** 2)))


def give_awards(level, sd, bias, noise):
    """Awards [..., N, 7] in half points from noise and seat bias of the same shape."""
    return np.clip(np.rint(2 * (level[:, None] + bias + sd[:, None] * noise)) / 2, 0, 10)


def diving_rule(awards, difficulty):
    """Two highest and two lowest of seven awards dropped, sum of the middle three times difficulty."""
    return np.round(np.sort(awards, axis=-1)[..., 2:5].sum(axis=-1) * difficulty, 2)


def rejudge(level, sd, judge, difficulty, rng):
    """Mean and standard deviation [N] of the score over fresh panels."""
    total, square = np.zeros(len(level)), np.zeros(len(level))
    for _ in range(PANELS):
        noise, bias = rng.standard_normal((2, len(level), SEATS))
        score = diving_rule(give_awards(level, sd, judge * SEAT_BIAS * bias, noise), difficulty)
        total, square = total + score, square + score**2
    mean = total / PANELS
    return mean, np.sqrt(np.maximum(square / PANELS - mean**2, 0))


def _choice(weights, uniform):
    """One column a row, with probabilities proportional to weights [N, M]."""
    cumulative = np.cumsum(weights, axis=1)
    return (uniform[:, None] * cumulative[:, -1:] >= cumulative[:, :-1]).sum(axis=1)


def _competitions(k, rng):
    """Competition of every item [N], and which competitions are not to be labelled."""
    weight = rng("sizes").gamma(4.0, size=k.competitions)
    barred = np.zeros(k.competitions, dtype=bool)
    if k.labelled is not None:
        barred[np.argsort(rng("labelled").random(k.competitions))[k.labelled :]] = True
    open_to = np.ones((2, k.competitions)) if k.test_from == "pool" else np.stack([np.ones(k.competitions), barred])
    part = np.repeat([0, 1], [k.n_train, k.n_test])
    return _choice((weight * open_to)[part], rng("competitions").random(k.n_train + k.n_test)), barred


def _athletes(k, rng, competition):
    """Athlete's number within the competition [N], about five dives each, and own level [N]."""
    field = np.maximum(2, np.bincount(competition, minlength=k.competitions) // 5)
    level = rng.standard_normal((k.competitions, field.max()))
    number = (rng.random(len(competition)) * field[competition]).astype(int)
    return number, level[competition, number]


def _labelable(k, uniform, competition, dive, scores, barred):
    """Which items may be labelled [N]; only training items are ever barred."""
    free = np.ones(len(scores), dtype=bool)
    train = slice(0, k.n_train)
    rank = np.argsort(np.argsort(scores[train], kind="stable")) / max(k.n_train - 1, 1)
    free[train] &= uniform >= k.selection * (1 - rank)
    free[train] &= ~barred[competition[train]]
    count = np.bincount(dive[train], minlength=k.classes)
    rarest = [c for c in np.argsort(count, kind="stable") if count[c] > 0][: k.unseen]
    free[train] &= ~np.isin(dive[train], rarest)
    return free


def _nuisance(k, rng, competition, athlete, barred):
    """[N, 8] constant in a video: venue from the competition, the rest half body, half camera position."""
    n, width = len(competition), 8
    venue = rng("venue").standard_normal((k.competitions, width))
    body = rng("body").standard_normal((k.competitions, athlete.max() + 1, width))
    camera = rng("camera").standard_normal((n, width))
    own = np.sqrt((1 - k.venue) / 2) * (body[competition, athlete] + camera)
    direction = rng("shift").standard_normal(width)
    return np.sqrt(k.venue) * venue[competition] + own + k.shift * barred[competition, None] * direction


def observe(k, rng, execution, dive, nuisance):
    """Segment features [N, T, D]: latent -> random tanh layer -> linear -> smooth rectifier, gains, noise."""
    n, t = execution.shape
    normal = lambda part, *shape: rng(part).standard_normal(shape, dtype=np.float32)  # noqa: E731
    time = np.linspace(0, 1, t, dtype=np.float32)
    # execution is seen along a direction that is partly shared over classes and segments
    way = normal("direction", 4) + 0.5 * normal("direction of time", t, 1, 4) + 0.5 * normal("direction of class", k.classes, 4)
    way /= np.linalg.norm(way, axis=-1, keepdims=True)  # [T, classes, 4]
    seen = execution[..., None].astype(np.float32) * way.swapaxes(0, 1)[dive]  # [N, T, 4]
    code = normal("class code", k.classes, 8)[dive][:, None] * (0.3 + 0.7 * np.sin(np.pi * time))[:, None]
    phase = np.stack([f(np.pi * m * time) for m in (1, 2) for f in (np.sin, np.cos)], axis=-1)  # [T, 4]
    still = np.broadcast_to(nuisance[:, None].astype(np.float32), (n, t, nuisance.shape[1]))
    parts = [0.7 * k.execution * seen, code, np.broadcast_to(phase, (n, t, 4)), 1.5 * k.nuisance * still,
             k.fast * normal("fast", n, t, 4)]  # fmt: skip
    latent = np.concatenate(parts, axis=-1, dtype=np.float32)  # [N, T, 28]
    width = latent.shape[-1]
    hidden = np.tanh(latent @ (normal("layer", width, HIDDEN) * np.float32(0.7 * width**-0.5)))
    x = hidden @ (normal("map", HIDDEN, k.D) * np.float32(HIDDEN**-0.5))  # [N, T, D]
    x += 0.3 * normal("offset", k.D) - 0.1
    np.multiply(x, 4, out=x)
    np.logaddexp(x, 0, out=x)  # smooth rectifier: what averaging a ReLU over places and frames gives
    x *= 0.25
    x -= 0.05
    np.maximum(x, 0, out=x)  # and exact zeros
    noise = normal("speckle", n, t, k.D)
    noise *= 0.2
    x *= np.exp(noise, out=noise)
    x *= np.exp(0.5 * normal("gain", k.D))
    return x
