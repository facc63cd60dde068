"""C3D-AVG-MTL: Parmar, Morris, "What and how well you performed? A multitask learning approach to action quality
assessment", CVPR 2019; score, attributes of the dive and its commentary at once.

    L = L_score + sum over 5 attributes of CE + 0.01 L_caption,   L_caption = -1/n sum_i sum_l log p(w_il | w_i<l, x_i)

L_score is that of C3D-AVG-STL; the attributes are position (3 classes), armstand (2), rotation (4), somersaults (10)
and twists (8), the latter two counted in halves. They and the caption of a video are columns of the data set's table,
read for a run's labelled videos alone. The score that is predicted needs neither.

Stated: the heads, the weights 1, 1 and 0.01, the caption's sum over words and mean over videos, at most 100 words,
dropout 0.5 in the caption head. Chosen here: all that C3D-AVG-STL chooses; the caption head (aqa_lib/models/c3d_avg.py)
with dropout before the words only; as vocabulary the most frequent words of the run's own labelled captions, at most
256 with the mark of beginning and end and the sign for any other word (there the 5779 words of all captions, with those
of the test videos). A video without a caption adds nothing to L_caption; captions = 0 leaves the head out. No
unlabelled video is used.
"""

import numpy as np
import torch

from aqa_lib.data.readers.mtl_aqa import POSITION, ROTATION
from aqa_lib.errors import UserError
from aqa_lib.methods.base import Setting
from aqa_lib.methods.c3d_avg_stl import SingleTask, score_error
from aqa_lib.models.c3d_avg import Average

ATTRIBUTES = {  # column -> its classes
    "position": POSITION,
    "armstand": [False, True],
    "rotation": ROTATION,
    "somersaults": list(range(10)),
    "twists": list(range(8)),
}
ENDS, OTHER, WORDS = range(3)  # ids of the beginning and end, of a word not known; the words begin at 2


class MultiTask(SingleTask):
    title = "C3D-AVG-MTL"
    SETTINGS = {
        "attributes": Setting(1.0, "weight of the attributes' cross-entropies", low=0, per_run=True),
        "captions": Setting(0.01, "weight of the captions' log-likelihood", low=0, per_run=True),
        "words": Setting(256, "most words of the vocabulary, two signs among them", low=3),
        "length": Setting(100, "most words of a caption; the rest is not told", 1, 1000),
        "drop": Setting(0.5, "dropout before the words, in steps of 1/256", 0, 0.99),
    }
    PLACES = {"drop": 1}

    def uses(self, settings):
        """Runs with a caption head stand together: it takes most of the time."""
        return ("captions",) * (settings["captions"] > 0)

    def check(self, settings, data):
        needed = [*ATTRIBUTES, *(["caption"] if settings["captions"] else [])]
        absent = [column for column in needed if column not in data.table]
        if absent:
            raise UserError(
                f"method {self.name}: the table of data set {data.name!r} has no column {', '.join(absent)}; take a "
                "set of dives with attributes and captions (captions = 0 does without the latter), or c3d_avg_stl"
            )
        for column, classes in ATTRIBUTES.items():
            unknown = [v for v in data.table[column] if v not in classes]
            if unknown:
                raise UserError(
                    f"method {self.name}: column {column} of data set {data.name!r} has {unknown[0]!r}, "
                    f"which is none of {', '.join(map(str, classes))}: mend the table, or take c3d_avg_stl"
                )

    def targets(self, data):
        """Classes [N,5], and captions as numbers of words [N,L], -1 after the last (all -1: no caption)."""
        table = data.table
        classes = [[known.index(v) for v in table[column]] for column, known in ATTRIBUTES.items()]
        captions = table["caption"] if "caption" in table else [None] * len(table)
        texts = [text.split() if isinstance(text, str) else [] for text in captions]
        number = {word: i for i, word in enumerate(sorted({word for text in texts for word in text}))}
        words = np.full((len(texts), max(1, *map(len, texts))), -1)
        for row, text in zip(words, texts, strict=True):
            row[: len(text)] = [number[word] for word in text]
        return {"attributes": np.array(classes).T, "words": words}

    def build(self, runs, data):
        s, classes = runs[0], [len(known) for known in ATTRIBUTES.values()]
        made = dict(classes=classes, words=s["words"], drop=s["drop"], precision=s["precision"])
        return Average(runs=len(runs), inputs=data.features.shape[2], **made)

    def begin(self, stack):
        """Each run's vocabulary, and by it the ids of its labelled captions: memory "said" [K,N,L], "known" [K]."""
        words, s = stack.pool.targets["words"].cpu().numpy()[:, : stack.runs[0]["length"]], stack.runs[0]
        labelled = [lab.train + first for lab, first in zip(stack.labels, stack.offsets, strict=True)]
        coded = [encode(words, items, s["words"]) for items in labelled]
        longest = max(int((ids >= 0).sum(1).max()) for ids, _ in coded)
        said = np.stack([ids[:, : max(1, longest)] for ids, _ in coded])
        stack.memory["said"] = torch.from_numpy(said).to(stack.device)
        stack.memory["known"] = torch.tensor([known for _, known in coded], device=stack.device)
        stack.facts["told"] = max(known for _, known in coded)

    def losses(self, model, batch):
        """The loss of each run and its terms, [K] each."""
        x = batch.x[:, 0]
        h = model(x, batch.mask_of(0))
        z = model.attributes(h)  # [K,B,5,classes]
        of_class = z.gather(-1, batch.target("attributes").unsqueeze(-1)).squeeze(-1)
        terms = {
            "score": score_error(model.scores(h), batch.y),
            "attributes": (z.logsumexp(-1) - of_class).sum((1, 2)) / x.shape[2],
        }
        loss = terms["score"] + batch.weight("attributes") * terms["attributes"]
        if any(s["captions"] for s in batch.runs):
            terms["captions"] = self.captions(model, batch)
            loss = loss + batch.weight("captions") * terms["captions"]
        return {"loss": loss, **terms}

    @staticmethod
    def captions(model, batch):
        """Negative log-likelihood of the captions, summed over words, mean over videos [K]."""
        said, items = batch.memory["said"], batch.items[:, 0]
        said = said.gather(1, items.unsqueeze(-1).expand(-1, -1, said.shape[2])).mT  # [K,L,B]
        before = torch.cat([torch.full_like(said[:, :1], ENDS), said[:, :-1].clamp(min=ENDS)], 1)
        told = batch.stack.facts["told"]
        z = model.caption(batch.x[:, 0], before, told, batch.keys["drop"][:, 0], batch.mask_of(0))  # [K,LB,told]
        foreign = torch.arange(told, device=z.device) >= batch.memory["known"][:, None, None]  # another run's words
        z, said = z.masked_fill(foreign, float("-inf")), said.flatten(1)
        of_word = z.gather(-1, said.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        return ((z.logsumexp(-1) - of_word) * (said >= 0)).sum(1) / items.shape[1]


def encode(words, labelled, most):
    """Ids [N,L+1] of the words [N,L] of labelled items and their end, -1 elsewhere; and how many ids there are."""
    mine = words[labelled]
    count = np.bincount(mine[mine >= 0])
    known = np.argsort(-count, kind="stable")[: min(most - WORDS, (count > 0).sum())]
    number = np.full(words.max() + 2, OTHER)  # the last entry is that of -1
    number[known], number[-1] = WORDS + np.arange(len(known)), -1
    ids = np.full((len(words), words.shape[1] + 1), -1)
    ids[labelled, :-1] = number[mine]
    told = labelled[(mine >= 0).any(1)]
    ids[told, (words[told] >= 0).sum(1)] = ENDS
    return ids, WORDS + len(known)


METHOD = MultiTask()
