"""The parts of the surrogate world, as functions of numbers: dives, execution, judges, features.

`rng` is a function from the name of a part to a generator of its own, so that no part disturbs another.
"""

import numpy as np
import pandas as pd

SEATS = 7  # judges
JUDGING = {"judging": "middle", "awards": [0, 10, 0.5]}  # the rule of diving; awards from 0 to 10 in half points
PANELS = 256  # re-judgings behind a score's true mean and spread
SEAT_BIAS = 0.1  # standard deviation of a seat's bias in a competition, in points, at judge = 1
HIDDEN = 128  # width of the random layer that makes the features

SHARES = {  # of the attributes, near those of the 1412 annotated dives of MTL-AQA
    "rotation": {"forward": 0.4, "back": 0.25, "inward": 0.19, "reverse": 0.16},
    "somersaults": {3: 0.08, 4: 0.09, 5: 0.35, 6: 0.03, 7: 0.4, 9: 0.05},  # in halves
    "twists": {0: 0.72, 1: 0.03, 2: 0.05, 3: 0.14, 5: 0.06},  # in halves
    "position": {"pike": 0.5, "tuck": 0.4, "free": 0.1},
    "armstand": {False: 0.88, True: 0.12},
}
VIEWS = ("flow", "still", "rot90", "rot180", "rot270")  # what else a backbone may be shown of the same video
EXTRA = {"pike": 0.2, "tuck": 0.0, "free": 0.1, "forward": 0.0, "back": 0.0, "inward": 0.1, "reverse": 0.1}


def dive_classes(count, rng):
    """`count` different dives, commoner ones first, with difficulty 1.5-4.1 from their attributes."""
    draws = {a: rng.choice(list(p), size=4000, p=list(p.values())) for a, p in SHARES.items()}
    dives = pd.DataFrame(draws).drop_duplicates(ignore_index=True)[:count]
    d = 1.75 + 0.2 * dives["somersaults"] + 0.1 * dives["twists"] + 0.2 * dives["armstand"]
    d += dives["position"].map(EXTRA) + dives["rotation"].map(EXTRA)
    dives["difficulty"] = d.clip(1.5, 4.1).round(1)
    stand = np.where(dives["armstand"], "armstand ", "")
    turns = " " + dives["somersaults"].astype(str) + "/" + dives["twists"].astype(str) + " "
    dives.insert(0, "class", stand + dives["rotation"] + turns + dives["position"])
    return dives


def choice(weights, uniform):
    """One column a row, with probabilities proportional to weights [N, M]."""
    cumulative = np.cumsum(weights, axis=1)
    return (uniform[:, None] * cumulative[:, -1:] >= cumulative[:, :-1]).sum(axis=1)


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
    """Awards [N, 7] in half points within 0-10, from bias and noise [N, 7]."""
    return np.clip(np.rint(2 * (level[:, None] + bias + sd[:, None] * noise)) / 2, 0, 10)


def diving_rule(awards, difficulty):
    """Two highest and two lowest of seven awards dropped, sum of the middle three times difficulty."""
    return np.round(np.sort(awards, axis=-1)[..., 2:5].sum(axis=-1) * difficulty, 2)


def rejudge(level, sd, judge, difficulty, rng):
    """Mean and standard deviation [N] of the score over fresh panels, new seats and new noise in each."""
    first, total, square = None, np.zeros(len(level)), np.zeros(len(level))
    for _ in range(PANELS):
        bias, noise = rng.standard_normal((2, len(level), SEATS))
        score = diving_rule(give_awards(level, sd, judge * SEAT_BIAS * bias, noise), difficulty)
        first = score if first is None else first
        total, square = total + (score - first), square + (score - first) ** 2
    mean = total / PANELS
    return first + mean, np.sqrt(np.maximum(square / PANELS - mean**2, 0))


def caption(kind, execution):
    """What a commentator says of each dive: what it was, and its best or worst moment; one text an item."""
    moment = np.abs(execution).argmax(axis=1)
    stage = np.array(["take-off", "flight", "opening", "entry"])[moment * 4 // execution.shape[1]]
    worth = execution[np.arange(len(execution)), moment] > 0
    said = []
    for row, place, good in zip(kind.itertuples(), stage, worth, strict=True):
        stand = "from an armstand " if row.armstand else ""
        turns = f"{row.somersaults} half somersaults" + (f" {row.twists} half twists" if row.twists else "")
        said.append(f"{stand}{row.rotation} {turns} in {row.position} a {'clean' if good else 'poor'} {place}")
    return said


def observe(rng, execution, dive, nuisance, size, strength, fast, view="rgb"):
    """Features [N, T, D = size]: latent -> random tanh layer -> linear -> smooth rectifier, gains, speckle.

    execution [N, T] enters with `strength`, nuisance [N, V] stays through a video, `fast` does not; the
    class of the dive bends the map, for it shares the tanh layer and turns the direction of execution.

    Other views are other observations of the same dive. "flow": another network, so a layer and a map of its own;
    what stays through a video (venue, body, camera) is half as strong, since it does not move. "still": the same
    network on one frame of each segment, in which execution is half as visible. "rot90" ...: the same network on
    turned frames, so half of its layer is another one. Flow and stills have noise of their own, turned frames that of
    the frames themselves. Plain assumptions, not fitted; what a second view tells that the first does not is theirs.
    """
    nuisance = nuisance * (0.5 if view == "flow" else 1)
    strength = strength * (0.5 if view == "still" else 1)

    def normal(part, *shape):
        own = {"flow": ("layer", "map", "offset", "gain", "speckle"), "still": ("speckle",)}.get(view, ())
        part = f"{part} of {view}" if part in own else part
        return rng(part).standard_normal(shape, dtype=np.float32)

    n, t = execution.shape
    classes = dive.max() + 1
    time = np.linspace(0, 1, t, dtype=np.float32)
    way = normal("way", 4) + 0.5 * normal("way of the segment", t, 4)
    way = way + 0.5 * normal("way of the class", classes, 1, 4)  # [classes, T, 4]
    way /= np.linalg.norm(way, axis=-1, keepdims=True)
    seen = 0.5 * strength * execution[..., None] * way[dive]  # [N, T, 4]
    code = normal("class code", classes, 8)[dive][:, None] * (0.3 + 0.7 * np.sin(np.pi * time))[:, None]
    phase = np.stack([wave(np.pi * m * time) for m in (1, 2) for wave in (np.sin, np.cos)], axis=-1)
    still = 2 * nuisance[:, None]
    quick = fast * normal("fast", n, t, 4)
    parts = [np.broadcast_to(p, (n, t, p.shape[-1])) for p in (seen, code, phase, still, quick)]
    latent = np.concatenate(parts, axis=-1, dtype=np.float32)
    layer = normal("layer", latent.shape[-1], HIDDEN) * np.float32(0.7 * latent.shape[-1] ** -0.5)
    if view.startswith("rot"):
        turned = normal(f"layer of {view}", *layer.shape) * np.float32(0.7 * latent.shape[-1] ** -0.5)
        layer = (layer + turned) * np.float32(0.5**0.5)
    x = np.tanh(latent @ layer) @ (normal("map", HIDDEN, size) * np.float32(HIDDEN**-0.5))  # [N, T, D]
    x += 0.3 * normal("offset", size) - 0.1
    # softplus less a threshold: what averaging a ReLU over pixels and frames gives, and exact zeros
    x *= 4
    np.logaddexp(x, 0, out=x)
    x -= 0.2
    np.maximum(x, 0, out=x)
    gain = np.exp(0.5 * normal("gain", size)) / 4
    speckle = normal("speckle", n, t, size)
    speckle *= 0.2
    x *= np.exp(speckle, out=speckle)
    x *= gain
    return x
