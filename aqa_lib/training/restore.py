"""A trained network again, from the weights that a run kept: for looking into it, not for training on.

table = study.train("s4aqa", world, runs=wanted, weights=True)
model = restored(study.read(table["id"][0]), data)
METHOD.encode(model, data.features)
"""

import torch

from aqa_lib import methods
from aqa_lib.errors import UserError


def restored(record, data):
    """The network of a run that a study kept with its weights; `data` is the set that it was trained on."""
    return network(record.spec["method"], data, record.spec["settings"], record.weights())


def network(method, data, settings, weights):
    """The network of one run in evaluation mode, on the processor.

    `settings` of the run; `weights`: name -> array, as `train(..., weights=True)` leaves them in `Result.weights` and
    a run's record gives them back. What the method keeps beside its network (a teacher) is not among them.
    """
    method = methods.get(method) if isinstance(method, str) else method
    if not method.gradient:
        raise UserError(f"method {method.name} is fitted in closed form and has no network to restore")
    settings = method.resolve(settings)
    model = method.build([settings], data)
    model.initialise([settings["seed"]])  # its flat buffer; every number in it is replaced below
    mine = dict([*model.named_parameters(), *model.named_buffers()])  # [1, ...] each
    if strange := sorted(mine.keys() ^ weights.keys()):
        whose = "not among the weights" if strange[0] in mine else "unknown to the network"
        raise UserError(
            f"method {method.name}: {strange[0]} is {whose}; give the method and settings that the run was made with"
        )
    for name, value in mine.items():
        found = torch.as_tensor(weights[name])
        if found.shape != value.shape[1:]:
            raise UserError(
                f"method {method.name}: {name} has shape {tuple(found.shape)} among the weights, but "
                f"{tuple(value.shape[1:])} in a network for data set {data.name!r}; give the data that the run saw"
            )
        value.data.copy_(found[None])
    return model.eval()
