"""A trained run used again: its weights file carries all that is needed, the training set is not.

run = restore(study.read(id))
run.predict(data)["score"]                 # [N] in the judge's unit, also of unscored items
run.method.encode(run.model, run.prepared(data).features)
"""

import math
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch

from aqa_lib import methods, tasks
from aqa_lib.data.files.limits import reason
from aqa_lib.data.standardise import Standard, parted
from aqa_lib.errors import UserError
from aqa_lib.kinds import having, takes
from aqa_lib.tasks import Labels
from aqa_lib.training.pool import Pool
from aqa_lib.training.stack import ROWS, named

FORMAT = 1
JUDGING = ("judging", "awards")  # of a set's meta: by what rule its judges make a score, and what awards they give


def description(method, data, settings, labels):
    """What stands beside the weights of a run: plain values."""
    views = {} if data.features is None else {v: list(data.view(v).shape[1:]) for v in method.views(settings)}
    shape = None if data.features is None else list(data.features.shape[1:])
    return {
        "format": FORMAT,
        "method": method.name,
        "settings": settings,
        "scale": labels.scale,
        "data": data.name,
        "shape": shape,  # [T, *shape]
        "ragged": bool(method.ragged(data)) if data.features is not None else False,
        "views": views,
        "judges": None if data.judges is None else data.judges.shape[1],
        "difficulty": data.difficulty is not None,
        "judging": {name: data.meta[name] for name in JUDGING if name in data.meta},
    }


@dataclass
class Trained:
    """A trained network, or the arrays of a closed-form method, that predicts for any data set of its shape."""

    method: object
    settings: dict
    about: dict
    model: object = None
    arrays: dict | None = None
    standard: Standard | None = None  # of the training items, where features were standardised within a column

    def prepared(self, data, items=None):
        """The set with its features as in training; `items` (default: all) must be of levels that were trained on."""
        items = np.arange(len(data)) if items is None else items
        return data if self.standard is None else self.standard.transformed(data, items)

    def predict(self, data, items=None):
        """Named predictions [n,...] of items (default: all) in the data's own units."""
        items = np.arange(len(data)) if items is None else np.asarray(items)
        self.check(data)
        data = self.prepared(data, items)
        if self.model is None:
            out = self.method.apply(self.arrays, data, items, self.settings)
            return {"score": out} if isinstance(out, np.ndarray) else out
        views, ragged = self.method.views(self.settings), self.about["ragged"]
        pool = Pool(self.method, [data], views, "cpu", torch.float32, ragged)
        parts = []
        with torch.no_grad():
            for part in torch.from_numpy(items).split(max(1, ROWS // pool.T)):
                rows, mask = pool.times(part[None, None])
                more = {name: pool.gather(view, rows) for name, view in pool.views.items()}
                more |= {name: value[part[None]] for name, value in pool.given.items()}
                more |= {} if mask is None else {"mask": mask}
                parts.append(named(self.method.predict(self.model, pool.gather(pool.x, rows), **more)))
        out = {name: torch.cat([p[name] for p in parts], 1)[0].double().numpy() for name in parts[0]}
        nothing = np.empty(0, dtype=int)
        labels = Labels(nothing, nothing, np.empty(0), scale=self.about["scale"])
        return tasks.get(self.method.task).units(out, labels)

    def check(self, data):
        """Refuse data of another shape than the run was trained on."""
        if self.about["shape"] is None or not self.method.video:
            return
        x, T = data.need_features(), self.about["shape"][0]
        where = f"the run was trained on {self.about['data']!r}"
        for view, (_, *shape) in {"rgb": self.about["shape"], **self.about["views"]}.items():
            found = tuple(data.view(view).shape[2:])
            if found != tuple(shape):
                kind = "segment" if view == "rgb" else view
                raise UserError(
                    f"data set {data.name!r} has {kind} features of shape {found}, but {where} with {tuple(shape)}: "
                    "give features of the same kind"
                )
        if not self.about["ragged"] and (data.ragged or x.shape[1] != T):
            has = f"{data.lengths.min()} to {data.lengths.max()}" if data.ragged else x.shape[1]
            raise UserError(
                f"data set {data.name!r} has {has} segments a video, but {where} with {T} each: cut its videos into "
                f"{T} segments"
            )


@takes(record=having("a run's record, as Study.read gives it", "weights", "about"))
def restore(record):
    """The Trained of a run's record that was kept with its weights."""
    return trained(record.weights(), record.about())


def trained(weights, about, method=None):
    """The Trained of arrays and their description; `method`: where it is not found by its name."""
    about = described(about)
    method = method or methods.get(about["method"])
    settings = method.resolve(about["settings"])
    weights, standard = parted(weights, about)
    if not method.gradient:
        agree(method, weights, about.get("arrays", {}))
        return Trained(method, settings, about, arrays=weights, standard=standard)
    try:
        model = method.build([settings], like(about))  # room, which takes memory once it is filled
    except (RuntimeError, MemoryError) as error:
        raise UserError(f"method {method.name}: there is no room for its network ({reason(error)})") from error
    mine = dict([*model.named_parameters(), *model.named_buffers()])  # [1, ...] each
    agree(method, weights, {name: value.shape[1:] for name, value in mine.items()})
    model.initialise([settings["seed"]])  # its flat buffer; every number in it is replaced below
    mine = dict([*model.named_parameters(), *model.named_buffers()])
    for name, value in mine.items():
        value.data.copy_(torch.as_tensor(weights[name])[None])
    return Trained(method, settings, about, model=model.eval(), standard=standard)


def described(about):
    """`about`, if it is what `description` makes; a weights file can be anybody's."""

    def shape(value):
        return whole(value) and len(value) > 1 and all(0 < n < 2**31 for n in value)

    def whole(value):
        return isinstance(value, list) and all(type(n) is int for n in value)

    checks = {
        "format": lambda v: v == FORMAT,
        "method": lambda v: isinstance(v, str),
        "settings": lambda v: isinstance(v, dict),
        "scale": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v),
        "data": lambda v: isinstance(v, str),
        "shape": lambda v: v is None or shape(v),
        "ragged": lambda v: isinstance(v, bool),
        "views": lambda v: isinstance(v, dict) and all(map(shape, v.values())),
        "arrays": lambda v: isinstance(v, dict) and all(map(whole, v.values())),  # of a closed-form method
    }
    for field, right in checks.items():
        if not isinstance(about, dict):
            raise UserError("a weights file has no description of its run: train the run again")
        if not right(about.get(field, {} if field == "arrays" else ...)):
            has = repr(about[field])[:60] if field in about else "nothing"
            raise UserError(f"a weights file says {has} for its {field}, as none does: train its run again")
    return about


def agree(method, weights, shapes):
    """Refuse weights of other names or shapes than a method's own {name: shape}."""
    if strange := sorted(shapes.keys() ^ weights.keys()):
        whose = "not among the weights" if strange[0] in shapes else "unknown to the method"
        raise UserError(
            f"method {method.name}: {strange[0]} is {whose}; give the method and settings that the run was made with"
        )
    for name, shape in shapes.items():
        if (found := tuple(np.shape(weights[name]))) != tuple(shape):
            raise UserError(
                f"method {method.name}: {name} has shape {found} among the weights, but {tuple(shape)} by their "
                "description: the two are of different runs"
            )


def like(about):
    """What `build` asks of a data set, without its numbers: shapes."""
    shape = (0, *about["shape"])
    views = {name: SimpleNamespace(shape=(0, *s)) for name, s in about["views"].items()}
    views["rgb"] = features = SimpleNamespace(shape=shape)
    seats = about.get("judges")
    judged = {
        "judges": None if seats is None else SimpleNamespace(shape=(0, seats)),
        "difficulty": SimpleNamespace(shape=(0,)) if about.get("difficulty") else None,
        "meta": about.get("judging", {}),
    }
    view = views.__getitem__
    return SimpleNamespace(features=features, view=view, ragged=about["ragged"], name=about["data"], **judged)
