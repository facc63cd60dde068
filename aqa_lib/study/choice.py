"""Learning rate, weights and number of steps, chosen on labelled videos that are held out; no test value enters.

    wanted = {"AA+MSFR": {"lambda1": [0, 10, 40]}}  # candidates: every combination of these values of its settings
    blocks = {"development": {"worlds": {"seed": 900}}}  # every replicate a world of its own
    variants = tried(wanted, {"lr": 8e-3, "steps": 1000})
    table = curves(Study("settings"), {"name": "surrogate"}, variants, blocks, [0.4], draws=8)
    weights(table, wanted)  # a row a candidate: its best step, its error, whether its mechanism lives, what is chosen

With few labels a run holds out too few to choose by, so curves are pooled over replicates: the geometric mean of their
squared errors. A ratio counts alike in a world of large errors and in one of small ones, so that no world outvotes the
others, and differences of candidates are paired, replicate by replicate, with the same labels held out. For the eye,
each world's errors are first divided by the variance of its labelled scores: 1 is about what a constant costs.

Held-out error alone would choose the candidates whose mechanisms are dead (training/alive.py). So the rate comes from
a variant without such mechanisms, the same for all, and weights are chosen among candidates that live at that rate;
one with a weight at 0 stands beside them and says whether the mechanism is worth having.
"""

from itertools import product

import numpy as np
import pandas as pd

from aqa_lib import kinds, methods, tasks
from aqa_lib.data import splits
from aqa_lib.errors import UserError, choose
from aqa_lib.kinds import mapping, table, takes
from aqa_lib.settings import Setting
from aqa_lib.study.asked import grid
from aqa_lib.study.comparison import run_of
from aqa_lib.study.parts import parts_of, replicates
from aqa_lib.study.study import loaded
from aqa_lib.study.variants import check_labels, check_methods, check_shared, with_settings

ERROR = "validation_mse"  # the only column of a run's curve that is read here, beside its step
RUN = ["variant", "fraction", "part", "draw"]
CURVES = [*RUN, "step", "error", "lives"]
LIVING = ("on", "weak")
HELD = Setting(0.25, "share of the labelled videos that is held out", above=0, below=1)


# ---- candidates


def each(wanted):
    """{title: (variant, {setting: value})} of every candidate of {variant: {setting: [values]}}."""
    found = {}
    if not isinstance(wanted, dict) or not all(isinstance(values, dict) for values in wanted.values()):
        raise UserError(f"candidates are {{variant: {{setting: [values]}}}}, but got {wanted!r}")
    for name, values in wanted.items():
        for own in grid(**values):
            found[", ".join([name, *(f"{k} {shown(v)}" for k, v in own.items())])] = name, own
    return found


def shown(value):
    return f"{value:g}" if isinstance(value, float) else str(value)


def tried(wanted, shared):
    """{title: (method, settings)} of every candidate; `shared` as in variants.by_name.

    A variant is named as in tables of comparisons or ablations, or by its method, which stands for the first of them.
    """
    known = {}
    for name in methods.names():
        own = methods.get(name).compared_as()
        for title, switched in {**methods.get(name).ablation, **own, name: next(iter(own.values()))}.items():
            known[title] = name, switched
    each(wanted)
    check_shared([known[choose("variant", name, known)][0] for name in wanted], known, shared)
    found = {}
    for title, (variant, own) in each(wanted).items():
        name, switched = known[variant]
        given = {**shared, variant: {**shared.get(variant, {}), **own}}
        found[title] = next(iter(with_settings(variant, name, switched, given).values()))
    return found


# ---- curves


@takes(variants=kinds.variants)
def curves(study, data, variants, blocks, fractions, draws, held=0.25, every=50, root=None, **train):
    """The long table: variant, fraction, part, draw, step, error, lives, and NAME_state of every mechanism.

    variants: {title: (method, settings)}. Of a run's labelled videos the share `held` is held out; error is the mean
    squared one on those, every `every` steps, in variances of the labelled scores; infinite where the run diverged.
    `train`: what Study.train takes (workers).
    """
    variants, parts = watching(data, variants, blocks, fractions, draws, held, every, root)
    rows = []
    for name in dict.fromkeys(name for name, _ in variants.values()):
        method, titles = methods.get(name), [t for t, (other, _) in variants.items() if other == name]
        cells = [(p, t, f, d) for p in parts for t, f, d in product(titles, p.fractions or fractions, range(draws))]
        runs = [run_of(method, variants[t][1], f, (d, d), p) for p, t, f, d in cells]
        worlds, parted = [p.replicate(d) for p, *_, d in cells], [p.split for p, *_ in cells]
        table = study.train(name, worlds, parted, runs, root=root, **train)
        for (p, *cell), world, run, (_, row) in zip(cells, worlds, runs, table.iterrows(), strict=True):
            settings = method.resolve(run)
            size = variance(method, world, p.split, settings, root)
            rows += curve(study, row, settings, dict(zip(RUN, [cell[0], cell[1], str(p), cell[2]], strict=True)), size)
    found, first = pd.DataFrame(rows), [*RUN, "step", "error", "lives"]
    return found[[*first, *found.columns.drop(first)]]


@takes(variants=kinds.variants)
def watching(data, variants, blocks, fractions, draws, held, every, root=None):
    """(variants that hold out a share of their labels, the parts of the blocks), all checked."""
    HELD.check("settings are chosen on labelled videos that are held out", "held", held)
    for title, (name, _) in variants.items():
        if not methods.get(name).gradient:
            raise UserError(f"{title} is fitted in closed form, without a rate or steps to choose: leave it out")
    variants = {t: (name, {**own, "validation": held, "every": every}) for t, (name, own) in variants.items()}
    parts = parts_of(data, blocks, root)
    check_methods(variants, parts)
    check_labels(variants, parts, fractions)
    replicates(draws, parts)
    return variants, parts


def variance(method, world, split, settings, root):
    """Of the labelled scores of a run, those that are held out among them."""
    dataset = loaded(world["name"], root, **{k: v for k, v in world.items() if k != "name"})
    labels = tasks.get(method.task).labels(dataset, splits.get(split)(dataset), settings)
    return float(dataset.scores[np.concatenate([labels.train, labels.validation])].var(ddof=1)) or 1.0


def curve(study, row, settings, of, size):
    """The rows of one run."""
    method = methods.get(row["method"])
    names = method.mechanisms(settings)
    needed = [name for name in names if name not in method.transient] or names
    states = {f"{name}_state": row.get(f"{name}_state") for name in names}
    about = {**of, "lives": all(states[f"{name}_state"] in LIVING for name in needed), **states}
    if row["state"] != "complete":
        steps = sorted({*range(settings["every"], settings["steps"] + 1, settings["every"]), settings["steps"]})
        return [{**about, "step": step, "error": np.inf} for step in steps]
    seen = study.read(row["id"]).curve[["step", ERROR]]
    return [{**about, "step": int(step), "error": mse / size} for step, mse in seen.itertuples(index=False)]


# ---- pooling


@takes(table=table(*CURVES))
def logs(table):
    """{(fraction, variant): log errors [replicates, steps]} of the table of `curves`."""
    found = {}
    for key, rows in table.groupby(["fraction", "variant"], sort=False):
        errors = rows.pivot(index=["part", "draw"], columns="step", values="error")
        found[key] = np.log(errors.fillna(np.inf).clip(lower=1e-12))
    return found


def mean_and_error(values):
    """Mean over replicates and its standard error, along the first axis; (inf, NaN) where one is infinite."""
    values = np.asarray(values, dtype=float)
    finite = np.isfinite(values).all(0)
    within = np.where(finite, values, 0.0)
    error = within.std(0, ddof=1) / np.sqrt(len(within)) if len(within) > 1 else np.full(finite.shape, np.nan)
    return np.where(finite, within.mean(0), np.inf), np.where(finite, error, np.nan)


@takes(table=table(*CURVES))
def pooled(table):
    """A row a (fraction, variant, step): error, the root of the pooled one, and its standard error over replicates."""
    found = []
    for (fraction, variant), log in logs(table).items():
        mean, error = mean_and_error(log)
        root = np.exp(mean / 2)
        found.append(pd.DataFrame({"fraction": fraction, "variant": variant, "step": log.columns, "error": root,
                                   "se": root * error / 2}))  # fmt: skip
    return pd.concat(found, ignore_index=True)


@takes(table=table(*CURVES))
def best(table):
    """A row a (fraction, variant): the step of least pooled error, that error, its standard error, and `within`.

    within: the first step whose error is above the least by no more than one standard error of their difference,
    paired over replicates. A variant of which a run diverged has an infinite error and no step.
    """
    rows = []
    for (fraction, variant), log in logs(table).items():
        mean, error = mean_and_error(log)
        row = {"fraction": fraction, "variant": variant, "step": pd.NA, "error": np.inf, "se": np.nan, "within": pd.NA}
        if np.isfinite(mean).any():
            least = int(mean.argmin())
            more, unsure = mean_and_error(log.sub(log.iloc[:, least], axis=0))
            near = (more <= unsure) | (np.arange(len(more)) == least)
            root = np.exp(mean[least] / 2)
            row |= {"step": log.columns[least], "error": root, "se": root * error[least] / 2}
            row |= {"within": log.columns[near.argmax()]}
        rows.append({**row, "replicates": len(log)})
    return pd.DataFrame(rows).astype({"step": "Int64", "within": "Int64"})


def difference(table, fraction, one, other):
    """Of the logarithms of the roots of two variants' errors, each at its best step: mean and standard error."""
    table = table[(table["fraction"] == fraction) & table["variant"].isin([one, other])]
    at = best(table).set_index("variant")["step"]
    if at.isna().any():
        return np.nan, np.nan
    log = logs(table)
    mean, error = mean_and_error(log[fraction, one][at[one]] - log[fraction, other][at[other]])
    return float(mean) / 2, float(error) / 2


# ---- choices


@takes(table=table(*CURVES), wanted=mapping)
def rate(table, wanted):
    """(the rate, a row a rate): one for all shares of labels, each rate at its best step for each share.

    The least rate whose error is above the least one by no more than one standard error of their difference, paired
    over replicates: of rates that cannot be told apart, the one nearest to those that networks are published with.
    wanted: {variant: {"lr": [rates]}} of one variant that learns from labelled videos alone.
    """
    of, found = each(wanted), best(table)
    found = found[found["variant"].isin(of)]
    found = found.assign(lr=[of[title][1]["lr"] for title in found["variant"]])
    rows = found.pivot(index="lr", columns="fraction", values=["error", "step", "within"]).sort_index()
    rows.columns = [f"{name} at {fraction:g}" for name, fraction in rows.columns]
    log, curves = pd.DataFrame(index=rows.index, columns=[]), logs(table)  # [rates, replicates], mean over shares
    for lr, those in found.groupby("lr"):
        at = [curves[f, v][s].to_numpy() if s is not pd.NA else np.inf
              for f, v, s in those[["fraction", "variant", "step"]].itertuples(index=False)]  # fmt: skip
        log.loc[lr, range(max(map(np.size, at)))] = np.mean(np.broadcast_arrays(*at), axis=0) / 2
    log = log.astype(float)
    pooled = log.mean(axis=1, skipna=False).fillna(np.inf)
    rows["pooled"] = np.exp(pooled)
    if not np.isfinite(pooled).any():
        raise UserError("runs diverged at every rate that was tried: try lower ones")
    rows["more"], rows["unsure"] = mean_and_error(log.sub(log.loc[pooled.idxmin()]).T.to_numpy())
    chosen = rows.index[(rows["more"] <= rows["unsure"]) | (rows.index == pooled.idxmin())][0]
    edge = len(rows) > 1 and chosen in (rows.index[0], rows.index[-1])
    rows["choice"] = np.where(rows.index == chosen, "chosen, at the edge" if edge else "chosen", "")
    return float(chosen), rows.reset_index()


@takes(table=table(*CURVES), wanted=mapping)
def weights(table, wanted):
    """A row a (fraction, candidate): method, candidate, its values, `best`'s columns, states, lives, off, choice.

    off: one of its settings is 0. lives: in most of its runs every mechanism is on or weak, after all of its steps; one
    that works where it ends at nothing, an adversary that has lost, is asked for only where there is no other. Chosen
    is the least error among those that live and are not off.
    """
    of, rows = each(wanted), best(table)
    rows = rows[rows["variant"].isin(of)]
    runs = table.drop_duplicates(RUN)
    rows["method"] = [of[title][0] for title in rows["variant"]]
    rows["values"] = [of[title][1] for title in rows["variant"]]
    rows["candidate"] = [", ".join(f"{k} {shown(v)}" for k, v in own.items()) or "-" for own in rows["values"]]
    at = zip(rows["variant"], rows["fraction"], strict=True)
    those = [runs[(runs["variant"] == variant) & (runs["fraction"] == fraction)] for variant, fraction in at]
    rows["states"] = [told(own) for own in those]
    rows["off"] = [any(value == 0 for value in own.values()) for own in rows["values"]]
    rows["lives"] = [own["lives"].mean() > 0.5 for own in those]
    eligible = rows["lives"] & ~rows["off"] & np.isfinite(rows["error"])
    rows["choice"] = np.select([rows["off"], ~rows["lives"]], ["off", "does not live"], "")
    rows.loc[rows[eligible].groupby(["fraction", "method"], sort=False)["error"].idxmin(), "choice"] = "chosen"
    first = ["fraction", "method", "candidate", "step", "within", "error", "se", "states", "choice"]
    return rows[[*first, *(c for c in rows if c not in first)]].reset_index(drop=True)


def told(runs):
    """The states of the mechanisms in words: "recovery: 7 on, 1 off"."""
    found = []
    for column in [c for c in runs if c.endswith("_state") and runs[c].notna().any()]:
        counts = runs[column].value_counts()
        found.append(f"{column.removesuffix('_state')}: " + ", ".join(f"{n} {state}" for state, n in counts.items()))
    return "; ".join(found) or "-"


@takes(table=table(*CURVES), wanted=mapping)
def settled(table, wanted):
    """A row a (fraction, method): what comparisons use of it, and whether it does as well with something off.

    A method of which none lives is said so, and belongs in no comparison. more: by how much, as a share, its error is
    above that of the best candidate that is off, and the standard error of that, paired over replicates. Off is as good
    where the chosen one is not better by more than one standard error; "-" where there are not both, or not two pairs.
    """
    rows = []
    for (fraction, method), those in weights(table, wanted).groupby(["fraction", "method"], sort=False):
        chosen, off = those[those["choice"] == "chosen"], those[those["off"]].nsmallest(1, "error")
        row = {"fraction": fraction, "method": method, "use": "none lives"}
        row |= {"steps": pd.NA, "within": pd.NA, "error": np.nan, "off": "-", "more": np.nan, "se": np.nan}
        if len(chosen):
            live = chosen.iloc[0]
            row |= {"use": live["candidate"], "steps": live["step"], "within": live["within"], "error": live["error"]}
        if len(off):
            row["off"] = off.iloc[0]["candidate"]
        if len(chosen) and len(off):
            row["more"], row["se"] = difference(table, fraction, live["variant"], off.iloc[0]["variant"])
        answers, known = {True: "yes", False: "no"}, np.isfinite([row["more"], row["se"]]).all()
        row["off is as good"] = answers[bool(row["more"] >= -row["se"])] if known else "-"
        rows.append(row)
    return pd.DataFrame(rows).astype({"steps": "Int64", "within": "Int64"})
