"""What a comparison compares: variants {title: (method, settings)}, as the methods name them.

    by_name(["s4aqa"], {"steps": 250})        # {"S4AQA": ("s4aqa", {"steps": 250}), "AA": ("s4aqa", {...})}
    contestants({"name": "surrogate"}, {"official": {}}, [], {})      # (variants, {title: why it is left out})

Methods that see no video stand in every comparison: a method that does not get past them has shown no use of its video.
"""

from aqa_lib import kinds, methods, tasks
from aqa_lib.errors import UserError, choose
from aqa_lib.kinds import mapping, takes, word, words
from aqa_lib.methods.base import LOOP, SEED
from aqa_lib.settings import Setting
from aqa_lib.study.parts import parts_of

FRACTIONS = Setting([0.1], "shares of the labels, each above 0", above=0, high=1, filled=True)
EPOCHS = Setting(1, "passes over the unlabelled videos", 1, 10**6)
OPTIMISER = ("lr", "optimiser", "momentum", "weight_decay")


@takes(names=words, shared=mapping)
def by_name(names, shared):
    """{title: (method, settings)}: the variants of each method with those of the `shared` settings that it knows.

    A name is a method's, which stands for all its variants, or the title of one variant. A method that brings an
    optimiser or a learning rate of its own keeps all that belongs to it. `shared[name]`, where there is one, holds
    settings of that method or variant alone; `epochs` stands for steps (comparison.py).
    """
    known, variants = methods.names(), {}
    titles = {} if set(names) <= set(known) else {t: n for n in known for t in methods.get(n).compared_as()}
    for name in names:
        choose("method", name, [*known, *titles])
    check_shared([titles.get(name, name) for name in names], [*known, *titles], shared)
    for name in names:
        of = titles.get(name, name)
        for title, switched in methods.get(of).compared_as().items():
            if name in (of, title):
                variants |= with_settings(title, of, switched, shared)
    return variants


@takes(name=word, switched=mapping, shared=mapping)
def versions(name, switched, shared):
    """{title: variant} of one method's versions {title: settings}; `shared` as in `by_name`, by title as well."""
    check_shared([name], [name, *switched], shared)
    found = {}
    for title, switches in switched.items():
        found |= with_settings(title, name, switches, shared)
    return found


@takes(shared=mapping)
def common(shared):
    """The shared settings without those of one method or variant: for what stands beside the versions of a method."""
    return {key: value for key, value in shared.items() if not isinstance(value, dict)}


@takes(names=words, titles=words, shared=mapping)
def check_shared(names, titles, shared):
    """A UserError where a name of `shared` is neither "epochs", nor one of `titles`, nor a setting of any method, or
    where the settings of one of `titles` are no mapping.

    Methods that are not compared are looked at only for a setting that the others and the training loop do not know:
    what a notebook has imported is what its answer depends on.
    """
    known = {"epochs", *SEED, *LOOP, *tasks.SCORES.choice, *tasks.SCORES.watch}
    own = {*titles, *methods.names()}  # that have settings of their own
    for method in map(methods.get, names):
        known |= {*method.settings()}
        own |= {*method.compared_as(), *method.ablation}  # `ablation`: of a notebook beside it
    for key in shared:
        if key not in known | own:
            every = [methods.get(name) for name in methods.names()]
            words = {key for method in every for key in (*method.settings(), *method.compared_as())}
            choose("setting of a comparison", key, ["epochs", *methods.names(), *sorted(words)])
    for key in shared.keys() & own:
        if not isinstance(shared[key], dict):
            raise UserError(f"the settings of {key!r} are a mapping such as {{lr: 0.001}}, but got {shared[key]!r}")


def with_settings(title, name, switched, shared):
    """{title: (method, settings)} of one variant; the title says where it is smaller than published."""
    method, mine = methods.get(name), {**shared.get(name, {}), **shared.get(title, {})}
    own = {key for key in OPTIMISER if key in method.SETTINGS}
    keeps = OPTIMISER if own & {"lr", "optimiser"} else own
    known = {*method.settings(), *(["epochs"] if method.gradient else [])}.difference(keeps)
    title += "".join(f", {k} {v}" for k, v in mine.items() if k in method.small)
    return {title: (name, {k: v for k, v in shared.items() if k in known} | mine | switched)}


@takes(names=words, shared=mapping)
def contestants(data, blocks, names, shared, root=None):
    """(variants, {title: why it is left out}): methods without video, the named methods, and what stands beside them.

    No names: all methods. What the data set does not allow, in one of the parts of the blocks, is left out.
    """
    return invited(parts_of(data, blocks, root), names, shared)


@takes(names=words, shared=mapping)
def invited(parts, names, shared):
    """The same on parts that are at hand; a UserError where nothing is left to compare."""
    names = names or [name for name in methods.every() if sees(name) and methods.get(name).compared]
    variants, left_out = possible(by_name(list(dict.fromkeys([*blind(), *names])), shared), parts)
    if not variants:
        raise UserError(next(iter(left_out.values())))
    beside = {}
    for name in dict.fromkeys(name for name, _ in variants.values()):
        for title, (other, switched) in methods.get(name).beside.items():
            beside |= with_settings(title, other, switched, shared)
    beside, neither = possible(beside, parts)
    return variants | beside, left_out | neither


@takes(shared=mapping)
def guesses(data, blocks, shared, root=None):
    """The methods without video that a data set has what they need for, as variants."""
    return possible(by_name(blind(), shared), parts_of(data, blocks, root))[0]


def sees(name):
    return methods.get(name).video


def blind():
    """The names of the methods that see no video and stand in comparisons."""
    return [name for name in methods.guesses() if methods.get(name).compared]


@takes(variants=kinds.variants)
def guessed(variants):
    """The titles of those variants that see no video."""
    return [title for title, (name, _) in variants.items() if not sees(name)]


@takes(variants=kinds.VARIANTS)
def reference(variants, method):
    """The variant that others are compared with: the first of `method` that is left, else the first of all."""
    return next((title for title, (name, _) in variants.items() if name == method), next(iter(variants)))


@takes(variants=kinds.VARIANTS)
def labels_alone(variants, method):
    """The variant of `method` that learns from the labels alone, which gains are measured from; else its reference."""
    for title, (name, settings) in variants.items():
        if name == method and not methods.get(name).unlabelled(resolved(name, settings)):
            return title
    return reference(variants, method)


@takes(variants=kinds.variants)
def possible(variants, parts):
    """(variants that can be trained on every part, {title: why another cannot})."""
    left, left_out = {}, {}
    for title, variant in variants.items():
        full = resolved(*variant)  # a wrong setting is an error, whatever the data
        try:
            check_method(methods.get(variant[0]), full, parts)
            left[title] = variant
        except UserError as error:
            left_out[title] = str(error)
    return left, left_out


@takes(variants=kinds.variants)
def check_methods(variants, parts):
    """A UserError that names the first part on which one of the variants cannot be trained."""
    for variant in variants.values():
        check_method(methods.get(variant[0]), resolved(*variant), parts)


def check_method(method, settings, parts):
    if method.task != "scores" and (pool := [part for part in parts if part.pool]):
        raise UserError(f"{pool[0]}: pool joins predicted scores, and method {method.name} learns {method.task}")
    for part in {id(part.data): part for part in reversed(parts)}.values():
        try:
            method.fits(settings, part.data)
            if method.gradient:
                from aqa_lib.training.packing import check_fits  # here: torch is slow to import

                check_fits(method, part.data, [settings])
        except UserError as error:
            raise UserError(f"{part}: {error}") from None


@takes(variants=kinds.variants)
def check_labels(variants, parts, fractions):
    """A UserError that names the block and part that has too few labels for a share of them, or too many."""
    seen, fractions = set(), FRACTIONS.check("a comparison", "fractions", fractions)
    for part in parts:
        for name, settings in variants.values():
            method = methods.get(name)
            for fraction in part.fractions or fractions:
                run = method.resolve(chosen(method, {**without_epochs(settings), "fraction": fraction}))
                needs = method.gradient and method.unlabelled(run)
                choice = tuple((k, run.get(k)) for k in (*tasks.get(method.task).choice, "validation") if k != "draw")
                key = id(part.items), method.task, choice, needs
                if key in seen:
                    continue
                seen.add(key)
                try:
                    labels = tasks.get(method.task).labels(part.data, part.items, run)
                    if needs and not len(labels.unlabelled):
                        raise UserError(
                            f"method {name}: fraction = {fraction} leaves no unlabelled video to learn from"
                        )
                except UserError as error:
                    raise UserError(f"{part}: {error}") from None


@takes(settings=mapping)
def resolved(name, settings):
    """All settings of a variant, checked, but for `epochs`, which are steps only on a part."""
    if "epochs" in settings:
        EPOCHS.check(f"method {name}", "epochs", settings["epochs"])
    return methods.get(name).resolve(without_epochs(settings))


def chosen(method, run):
    """A run with what its task lets it choose of the labels: a method of actions knows neither fraction nor draw."""
    return {k: v for k, v in run.items() if k not in ("fraction", "draw") or k in method.settings()}


@takes(settings=mapping)
def without_epochs(settings):
    """What the method itself knows of a variant's settings."""
    return {k: v for k, v in settings.items() if k != "epochs"}
