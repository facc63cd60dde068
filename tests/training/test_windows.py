"""Training on windows: also where all videos have one length, against a plain loop over windows; wrong ones refused."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import advance, losses_of, make_stack
from ragged_cases import Run, even, uneven

from aqa_lib.data.splits import official
from aqa_lib.errors import UserError
from aqa_lib.training import contract, train
from aqa_lib.training.restore import trained
from benchmarks.plain import ragged as plain

FILE = Path(__file__).parents[1] / "contract" / "windows.py"
SETTINGS = {"batch": 8, "steps": 10, "shares": 3, "drop": 0.25}


@pytest.fixture
def method():
    found = importlib.import_module("contract.windows").METHOD
    found.name = "windows"
    return found


def run(k):
    return {"seed": k, "draw": k, "fraction": 0.3 + 0.1 * k, "lr": 1e-3 * (k + 1), **SETTINGS}


@pytest.mark.parametrize("make", [even, uneven])
def test_a_step_on_windows_is_a_loop_over_windows(make, method):
    """The loss on windows of which some reach beyond the end, and the predictions of whole videos, in float64."""
    data = make()
    stack = make_stack(method, data, [run(0), run(1)], dtype=torch.float64)
    advance(stack, 3)
    batch = stack.batch(3)
    t = method.times(stack, batch.items, 3)
    lengths = np.broadcast_to(data.lengths, 60) if data.ragged else np.full(60, 6)
    assert batch.x.shape[2] == 4 and 0 < (batch.mask == 0).sum() < batch.mask.numel() / 2
    loss = losses_of(stack, 3)["loss"]
    for k in range(2):
        plain_run = Run(stack, k, 3)
        for b, item in enumerate(batch.items[k, 0].tolist()):
            inside = t[k, 0, :, b][t[k, 0, :, b] < lengths[item]].numpy()
            assert batch.length[k, 0, b] == len(inside)
            plain_run.labelled[b] = torch.from_numpy(data.features[item][inside]).double()
        by_hand = F.mse_loss(plain.score(plain_run, plain.labelled(plain_run)), plain_run.y)
        assert loss[k].item() == pytest.approx(by_hand.item(), rel=1e-10)
        whole = [plain_run.video(data, i) for i in range(60)]
        with torch.no_grad():
            predicted = plain.score(plain_run, plain.encode(plain_run, whole)) / stack.labels[k].scale
        assert np.allclose(stack.predict(np.arange(60))[k]["score"], predicted, rtol=1e-9)


def test_a_method_with_windows_keeps_the_contract():
    found = {words: complaint for words, complaint in contract.findings(FILE) if complaint}
    assert found == {}


def test_a_run_on_windows_scores_videos_of_other_lengths(method):
    data = even()
    (result,) = train(method, data, official(data), [run(0)], weights=True)
    assert result.complete and result.about["ragged"]
    score = trained(result.weights, result.about, method).predict(uneven())["score"]
    assert np.isfinite(score).all()


def hole(stack, items, step):
    """Segments 0, 99, 1 of each video."""
    return torch.tensor([0, 99, 1])[:, None].expand(*items.shape[:2], 3, items.shape[2])


def nothing(stack, items, step):
    return hole(stack, items, step) + 99


def before(stack, items, step):
    return hole(stack, items, step).clamp(max=1) - 1


@pytest.mark.parametrize("times", [hole, nothing, before])
@pytest.mark.parametrize("make", [even, uneven])
def test_windows_with_a_hole_are_refused_in_a_sentence(make, times, method, monkeypatch):
    monkeypatch.setattr(method, "times", times, raising=False)
    with pytest.raises(UserError, match="method windows: `times` gives a place outside a video before") as error:
        train(method, make(), official(make()), [run(0)])
    assert "\n" not in str(error.value)


def test_windows_beyond_the_end_ask_for_masks(method, monkeypatch):
    """Without `windows` a set of one length has no mask, and what lies beyond is the next video's."""
    monkeypatch.setattr(type(method), "windows", False)
    data = even()
    with pytest.raises(UserError, match="beyond the end of a video: set windows = True"):
        train(method, data, official(data), [run(0)])
    monkeypatch.setattr(type(method), "windows", True)
    monkeypatch.setattr(type(method), "masks", False)
    with pytest.raises(UserError, match="set masks = True"):
        train(method, data, official(data), [run(0)])


def test_windows_inside_need_no_masks(method, monkeypatch):
    """All six segments in order are the whole video, to the bit."""
    monkeypatch.setattr(type(method), "windows", False)
    data, found = even(), []

    def whole(stack, items, step):
        return torch.arange(6)[:, None].expand(*items.shape[:2], 6, items.shape[2])

    for times in (whole, lambda *given: None):
        monkeypatch.setattr(method, "times", times, raising=False)
        found += train(method, data, official(data), [run(0)])
    assert found[0].predictions.equals(found[1].predictions)
