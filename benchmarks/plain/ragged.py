"""Videos of unequal length, each at its own: the methods as loops over videos, without padding and without masks.

The independent reference of the tests, in float64. Every video is a tensor [t,D] of its own; torch's conv1d runs over
it with zeros at its own ends, and torch's batch norm over the segments of all videos of a set, one under another.
`run` is what one run sees in a step: w, its weights and running statistics by name; labelled and unlabelled, lists of
videos; y, the labelled scores; s, its settings; and what chance decides, as arrays whose first two axes are segment
and video:

    run.drop(name, i)     for each layer 0/1 [T,B,C] of dropout
    run.hide(i)           0/1 [T,B], the segments that an augmentation keeps
    run.noise()           [T,B,D] of mean 0 and variance 1
    run.words(name, i)    [T,B] whole numbers; the least are masked

Nothing of aqa_lib is used here.
"""

import torch
import torch.nn.functional as F
from scipy.stats import rankdata

from benchmarks.plain.clss import fiedler, ordinal_entropy, rank_loss
from benchmarks.plain.oracle import GradientReversal
from benchmarks.plain.rankup import orders, pairs


def shares(h, count):
    """`count` equal shares of a video h [t,C], means of its segments by how much of each they cover; [count,C]."""
    out = []
    for p in range(count):
        first, last = p * len(h) / count, (p + 1) * len(h) / count
        total = 0
        for t in range(len(h)):
            total = total + max(0.0, min(last, t + 1) - max(first, t)) * h[t]
        out.append(total / (last - first))
    return torch.stack(out)


def encode(run, videos, keeps=None, place="encoder", track=False):
    """f [B, shares * C], normalised by the videos themselves, or where `keeps` is None by the running statistics.

    track: these are the videos that the running statistics follow.
    """
    lengths, drop = [len(v) for v in videos], round(256 * run.s["drop"]) / 256
    for layer in range(3):
        weight = run.w[f"{place}.convs.{layer}.weight"].permute(2, 1, 0)
        every = torch.cat([F.conv1d(v.T[None], weight, padding=1)[0].T for v in videos])
        norm = f"{place}.norms.{layer}"
        gamma, beta = run.w[f"{norm}.gamma"], run.w[f"{norm}.beta"]
        statistics = run.w[f"{norm}.mean"], run.w[f"{norm}.var"]
        if track:
            now = every.detach().mean(0), every.detach().var(0)
            run.statistics[norm] = [0.9 * old + 0.1 * new for old, new in zip(statistics, now, strict=True)]
        if keeps is None:
            every = F.batch_norm(every, *statistics, gamma, beta).relu()
        else:
            every = F.batch_norm(every, None, None, gamma, beta, training=True).relu()
        videos = every.split(lengths)
        if keeps is not None:
            videos = [v * keeps[layer][: len(v), b] / (1 - drop) for b, v in enumerate(videos)]
    return torch.stack([shares(v, run.s["shares"]).flatten() for v in videos])


def head(run, place, f, norm=False):
    """FC-ReLU-FC; with `norm` FC-LayerNorm-ReLU-FC, the norm without parameters."""
    h = linear(run, f"{place}.first", f)
    h = F.layer_norm(h, h.shape[-1:]) if norm else h
    return linear(run, f"{place}.last", h.relu())


def linear(run, place, f):
    return f @ run.w[f"{place}.weight"] + run.w[f"{place}.bias"]


def labelled(run, place="encoder", key=0):
    return encode(run, run.labelled, run.drop("drop", key), place, track=True)


def score(run, f):
    return head(run, "regressor", f)[:, 0]


def hidden(videos, keep):
    return [v * keep[: len(v), b, None] for b, v in enumerate(videos)]


def noisy(run, videos):
    """With noise of run.s["noise"] root mean squares of all segments that there are."""
    size = torch.cat(videos).square().mean().sqrt()
    return [v + run.s["noise"] * size * run.noise()[: len(v), b] for b, v in enumerate(videos)]


def masked(run, videos, i):
    """Each video without the segments of its least words, and their mean."""
    words, seen, targets = run.words("mask", i), [], []
    for b, v in enumerate(videos):
        gone = sorted(range(len(v)), key=lambda t, b=b: int(words[t, b]))[: run.s["masks"]]
        seen.append(torch.stack([v[t] * (t not in gone) for t in range(len(v))]))
        targets.append(torch.stack([v[t] for t in gone]).mean(0))
    return seen, torch.stack(targets)


def asked(run, which):
    """What the decoder sees of the labelled (1) or unlabelled (0) videos, and what it is to recover."""
    videos = run.labelled if which else run.unlabelled
    if run.s["pretext"] == "mask":
        return masked(run, videos, which)
    return run.still[which], torch.stack([shares(v, run.s["shares"]).flatten() for v in videos])


def s4aqa(run):
    """run.still: the unlabelled and the labelled videos as still frames."""
    s, last, norm = run.s, {}, run.s["head"] == "norm"
    f = [labelled(run)]
    last["regression"] = F.mse_loss(score(run, f[0]), run.y)
    loss = last["regression"]
    if s["recover"]:
        f.append(encode(run, run.unlabelled, run.drop("drop", 1)))
        seen, target = asked(run, 0)
        f.append(encode(run, seen, run.drop("drop", 2)))
        last["recovery"] = F.l1_loss(head(run, "decoder", f[2], norm), target)
        if s["recover_labelled"]:
            seen, target = asked(run, 1)
            also = F.l1_loss(head(run, "decoder", encode(run, seen, run.drop("drop", 3)), norm), target)
            last["recovery"] = (last["recovery"] + also) / 2
        loss = loss + s["lambda1"] * last["recovery"]
    if s["align"]:
        bce, last["alignment"] = F.binary_cross_entropy_with_logits, 0
        for x, label, weight in zip(f, (1.0, 0.0, 0.0), (1.0, 0.5, 0.5), strict=True):
            z = head(run, "discriminator", GradientReversal.apply(x, s["grl"]), norm)[:, 0]
            last["alignment"] = last["alignment"] + weight * bce(z, torch.full_like(z, label))
        loss = loss + s["lambda2"] * last["alignment"]
    return {"loss": loss, **last}


def means(videos):
    return torch.stack([v.mean(0) for v in videos])


def bins(run, videos):
    """Logits of USDL's MLP on the mean segment."""
    h = linear(run, "layers.0", means(videos)).relu()
    return linear(run, "layers.2", linear(run, "layers.1", h).relu())


def usdl(run):
    at = torch.arange(run.s["bins"]).double()
    c = run.y * (run.s["bins"] - 1) / (5 * run.s["top"])
    target = torch.exp(-((at - c[:, None]) ** 2) / (2 * run.s["sigma"] ** 2))
    target = target / target.sum(1, keepdim=True)
    return {"loss": F.kl_div(bins(run, run.labelled).log_softmax(1), target, reduction="none").mean()}


def averaged(run, videos):
    return linear(run, "fc", means(videos)).relu()


def c3d_avg_stl(run):
    predicted = linear(run, "score", averaged(run, run.labelled))[:, 0]
    return {"loss": F.mse_loss(predicted, run.y) + F.l1_loss(predicted, run.y)}


def c3d_avg_mtl(run):
    """run.classes [B,5]; run.ids: the caption of each video as ids, its end included; run.ids_in_all: how many."""
    h = averaged(run, run.labelled)
    z = linear(run, "attributes.linear", h).unflatten(1, (5, 10))
    terms = {"score": c3d_avg_stl(run)["loss"], "attributes": 0, "captions": 0}
    for i, n in enumerate((3, 2, 4, 10, 8)):
        terms["attributes"] = terms["attributes"] + F.cross_entropy(z[:, i, :n], run.classes[:, i])
    for b, v in enumerate(run.labelled):
        terms["captions"] = terms["captions"] + told(run, v, run.ids[b], b) / len(run.labelled)
    loss = terms["score"] + run.s["attributes"] * terms["attributes"] + run.s["captions"] * terms["captions"]
    return {"loss": loss, **terms}


def told(run, video, ids, b):
    """Negative log-likelihood of one caption: both cells go over the video's own segments, then over its words."""

    def cell(which, x, h):
        weights = (run.w[f"caption.{which}.{n}"] for n in ("weight_x", "weight_h", "bias_x", "bias_h"))
        return torch.gru_cell(x[None], h[None], *(p.T if p.dim() == 2 else p for p in weights))[0]

    vectors, loss = run.w["caption.vectors.weight"], 0
    first = second = nothing = torch.zeros(vectors.shape[1], dtype=video.dtype)
    for x in video:
        first = cell("first", x, first)
        second = cell("second", torch.cat([first, nothing]), second)
    keep = run.said(len(ids))
    for place, (before, word) in enumerate(zip([0, *ids], ids, strict=False)):
        first = cell("first", torch.zeros_like(video[0]), first)
        second = cell("second", torch.cat([first, vectors[before]]), second)
        z = linear(run, "caption.last", second * keep[place, b] / (1 - run.s["drop"]))[: run.ids_in_all]
        loss = loss - z.log_softmax(0)[word]
    return loss


def augmented(run):
    """The weak view of the unlabelled and the strong one."""
    return hidden(run.unlabelled, run.hide(0)), noisy(run, hidden(run.unlabelled, run.hide(1)))


def mean_teacher(run, teacher="teacher."):
    weakly, strongly = augmented(run)
    with torch.no_grad():
        key = 2 if teacher else 1  # of the weak view
        f = encode(run, weakly, run.drop("drop", key), f"{teacher}encoder")
        target = head(run, f"{teacher}regressor", f)[:, 0]
    terms = {"regression": F.mse_loss(score(run, labelled(run)), run.y)}
    predicted = score(run, encode(run, strongly, run.drop("drop", 1 if teacher else 2)))
    terms["consistency"] = F.mse_loss(predicted, target)
    return {"loss": terms["regression"] + run.ramp * run.s["weight"] * terms["consistency"], **terms}


def pi_model(run):
    return mean_teacher(run, teacher="")


def ucvme(run):
    def net(m, videos, keeps, track=False):
        return head(run, f"nets.{m}.regressor", encode(run, videos, keeps, f"nets.{m}.encoder", track)).unbind(1)

    def likelihood(y, target, z):
        return (0.5 * ((y - target).square() * torch.exp(-z) + z)).mean()

    with torch.no_grad():
        passes = range(run.s["passes"])
        out = [torch.stack(net(m, run.unlabelled, run.passing(m, i))) for m in range(2) for i in passes]
        pseudo, variance = torch.stack(out).mean(0)
    out_u = [net(m, run.unlabelled, run.drop("drop", 2 * m + 1)) for m in range(2)]
    (y_a, z_a), (y_b, z_b) = (net(m, run.labelled, run.drop("drop", 2 * m), True) for m in range(2))
    z = (z_a + z_b) / 2
    terms = {
        "regression": likelihood(y_a, run.y, z) + likelihood(y_b, run.y, z),
        "agreement": F.mse_loss(z_a, z_b),
        "consistency": sum(likelihood(y, pseudo, variance) for y, _ in out_u),
        "uncertainty": sum(F.mse_loss(z, variance) for _, z in out_u),
    }
    of_unlabelled = terms["consistency"] + terms["uncertainty"]
    return {"loss": terms["regression"] + terms["agreement"] + run.s["weight"] * of_unlabelled, **terms}


def vat(run):
    def label(videos):
        return linear(run, "regressor.first", encode(run, videos, run.drop("drop", 1)))

    def unit(ds):
        return [d / d.square().sum().sqrt() for d in ds]

    clean = label(run.unlabelled)
    d = unit([run.direction()[: len(v), b] for b, v in enumerate(run.unlabelled)])
    d = [(run.s["xi"] * one).requires_grad_() for one in d]
    moved = label([v + one for v, one in zip(run.unlabelled, d, strict=True)])
    g = torch.autograd.grad((moved - clean.detach()).square().sum(1).mean(), d)
    away = [v + run.s["eps"] * r for v, r in zip(run.unlabelled, unit(g), strict=True)]
    terms = {"adversarial": (label(away) - clean).square().sum(1).mean()}
    terms["regression"] = F.mse_loss(score(run, labelled(run)), run.y)
    return {"loss": terms["regression"] + run.s["weight"] * terms["adversarial"], **terms}


def mixmatch(run):
    """A mixed video is as long as the one with the larger share; the other is cut, or goes on with zeros."""
    views = [hidden(run.unlabelled, run.hide(i)) for i in range(2)]
    with torch.no_grad():
        pseudo = sum(score(run, encode(run, v, run.drop("drop", 3 + i))) for i, v in enumerate(views)) / 2
    videos, y = [*run.labelled, *views[0], *views[1]], torch.cat([run.y, pseudo, pseudo])
    part, mixed = run.share(), []
    for v, other in zip(videos, (videos[j] for j in run.order(len(videos))), strict=True):
        fit = torch.zeros_like(v)
        n = min(len(v), len(other))
        fit[:n] = other[:n]
        mixed.append(part * v + (1 - part) * fit)
    y, B = part * y + (1 - part) * y[run.order(len(videos))], len(run.y)
    error = []
    for i in range(3):
        here = slice(i * B, (i + 1) * B)
        f = encode(run, mixed[here], run.drop("drop", i), track=i == 0)
        error.append(F.mse_loss(score(run, f), y[here]))
    terms = {"regression": error[0], "mixed": (error[1] + error[2]) / 2}
    return {"loss": terms["regression"] + run.ramp * run.s["weight"] * terms["mixed"], **terms}


def rankup(run):
    """run.aligned(predicted): the aligned labels of the unlabelled videos, or where there is none their predictions."""
    weakly, strongly = augmented(run)
    f, f_strong = labelled(run), encode(run, strongly, run.drop("drop", 1))
    f_weak = encode(run, weakly, run.drop("drop", 2))
    sure, label = pairs(linear(run, "ranker", f_weak)).detach().softmax(1).max(1)
    agreement = F.cross_entropy(pairs(linear(run, "ranker", f_strong)), label, reduction="none")
    terms = {
        "regression": F.mse_loss(score(run, f), run.y),
        "ranking": F.cross_entropy(pairs(linear(run, "ranker", f)), orders(run.y)),
        "agreement": (agreement * (sure >= run.s["confidence"])).mean(),
    }
    loss = terms["regression"] + run.s["weight"] * (terms["ranking"] + terms["agreement"])
    if run.s["align_ranks"]:
        predicted = score(run, f_weak)
        terms["alignment"] = F.mse_loss(predicted, run.aligned(predicted.detach()))
        loss = loss + run.ramp * run.s["align_weight"] * terms["alignment"]
    return {"loss": loss, **terms}


def rank_alignment(run):
    predicted = score(run, encode(run, hidden(run.unlabelled, run.hide(0)), run.drop("drop", 1)))
    terms = {"regression": F.mse_loss(score(run, labelled(run)), run.y)}
    terms["alignment"] = F.mse_loss(predicted, run.aligned(predicted.detach()))
    return {"loss": terms["regression"] + run.ramp * run.s["weight"] * terms["alignment"], **terms}


def clss(run):
    f_l, f_u = labelled(run), encode(run, run.unlabelled, run.drop("drop", 1))
    z, g, step = F.normalize(f_u, dim=1), score(run, f_u), run.s["rank_step"]
    places = rankdata(fiedler((z @ z.T).detach().numpy()))
    terms = {
        "regression": F.mse_loss(score(run, f_l), run.y),
        "contrast": torch.as_tensor(ordinal_entropy(f_l, run.y)),
        "feature": rank_loss(z @ z.T, places, step),
        "prediction": rank_loss(-(g[:, None] - g).abs(), places, step),
    }
    weights = {"contrast": "contrast", "feature": "feature_weight", "prediction": "prediction_weight"}
    return {"loss": terms["regression"] + sum(run.s[w] * terms[n] for n, w in weights.items()), **terms}


def pseudo_labels(run):
    """run.known: all labelled videos, with run.known_y."""
    with torch.no_grad():
        near = torch.cdist(encode(run, run.unlabelled), encode(run, run.known))
        pseudo = run.known_y[near.topk(run.s["k"], largest=False).indices].mean(1)
    terms = {"regression": F.mse_loss(score(run, labelled(run)), run.y)}
    terms["imitation"] = F.mse_loss(score(run, encode(run, run.unlabelled, run.drop("drop", 1))), pseudo)
    return {"loss": terms["regression"] + run.s["weight"] * terms["imitation"], **terms}


def predict(run, name, videos):
    """Scaled scores [n], with running statistics and without dropout."""
    if name == "usdl":
        at = torch.linspace(0, 5 * run.s["top"], run.s["bins"], dtype=torch.float64)
        p = bins(run, videos).softmax(1)
        return p @ at if run.s["output"] == "expectation" else at[p.argmax(1)]
    if name.startswith("c3d"):
        return linear(run, "score", averaged(run, videos))[:, 0]
    if name == "ucvme":
        nets = (f"nets.{m}" for m in range(2))
        return sum(head(run, f"{n}.regressor", encode(run, videos, place=f"{n}.encoder"))[:, 0] for n in nets) / 2
    return score(run, encode(run, videos))
