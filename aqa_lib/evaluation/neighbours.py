"""What a t-SNE picture of encoded videos could show, as numbers: whether near points have similar scores, whether a
classifier separates labelled from unlabelled points, and what is left of both in three dimensions.

t-SNE: van der Maaten and Hinton, "Visualizing data using t-SNE", JMLR 2008. Trustworthiness: Venna and Kaski,
"Neighborhood preservation in nonlinear projection methods", ICANN 2001. Both, and the classifier, are scikit-learn's.
"""

from typing import NamedTuple

import numpy as np

from aqa_lib.errors import UserError
from aqa_lib.evaluation.metrics import spearman


class Domains(NamedTuple):
    accuracy: float  # of a cross-validated linear classifier
    share: float  # of the more frequent kind: the accuracy of always saying that
    auc: float  # probability that a point of the second kind ranks above one of the first; .5 = not separable


def nearest(x, k):
    """The k nearest other points of each of x [N, D], nearest first: [N, k]."""
    from sklearn.neighbors import NearestNeighbors

    x = _points(x)
    if not 1 <= k < len(x):
        raise UserError(f"k = {k} neighbours need more than {k} points, but there are {len(x)}: take a smaller k")
    return NearestNeighbors(n_neighbors=k).fit(x).kneighbors(return_distance=False)  # of others, never itself


def neighbour_correlation(x, scores, k=10):
    """Spearman between a point's score and the mean score of its k nearest neighbours among x [N, D].

    Near 1 where near points have similar scores; a little below 0 for scores permuted at random, since a point is no
    neighbour of its own.
    """
    x, scores = _points(x, scores)
    return spearman(scores[nearest(x, k)].mean(1), scores)


def overlap(a, b, k=10):
    """Share of the k nearest neighbours that two embeddings of the same points, a and b, have in common.

    1 = the same neighbours; of random embeddings k / (N - 1).
    """
    first, second = nearest(a, k), nearest(b, k)
    if len(first) != len(second):
        raise UserError(f"two embeddings of the same points are needed, not of {len(first)} and {len(second)}")
    return float(np.mean([len(np.intersect1d(f, s)) for f, s in zip(first, second, strict=True)]) / k)


def domains(x, second, folds=5, seed=0):
    """How well a linear classifier separates points of two kinds; second [N]: whether a point is of the second."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, second = _points(x, np.asarray(second))
    few = min(second.sum(), (~second).sum())
    if few < folds:
        raise UserError(f"{folds} folds need {folds} points of each kind, but there are {few}: take fewer folds")
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    cut = StratifiedKFold(folds, shuffle=True, random_state=seed)
    p = cross_val_predict(model, x, second, cv=cut, method="predict_proba")[:, 1]
    share = float(second.mean())
    return Domains(float(((p > 0.5) == second).mean()), max(share, 1 - share), float(roc_auc_score(second, p)))


def picture(x, seed=0, perplexity=30.0, init="random"):
    """t-SNE embedding [N, 3] of the points x [N, D].

    It starts from random coordinates, by `seed`, or with init="pca" from the first principal components.
    """
    from sklearn.manifold import TSNE

    x = _points(x)
    if not 0 < perplexity < len(x):
        raise UserError(
            f"a t-SNE of {len(x)} points needs a perplexity above 0 and below {len(x)}, but it is {perplexity:g}"
        )
    tsne = TSNE(3, perplexity=perplexity, init=init, random_state=seed, max_iter=500)
    return tsne.fit_transform(x)


def trust(x, drawn, k=10):
    """Trustworthiness: 1 where all k nearest points in an embedding `drawn` [N, 3] are near in x [N, D], too."""
    from sklearn.manifold import trustworthiness

    x = _points(x)
    if not 1 <= k < len(x) / 2:
        raise UserError(f"trustworthiness of k = {k} needs more than {2 * k} points, but there are {len(x)}")
    return float(trustworthiness(x, drawn, n_neighbors=k))


def _points(x, along=None):
    x = np.asarray(x, float)
    if x.ndim != 2 or (along is not None and np.shape(along) != x.shape[:1]):
        of = "" if along is None else f" for values {np.shape(along)}"
        raise UserError(f"points must be [N, D]{of}, but have shape {x.shape}")
    return x if along is None else (x, np.asarray(along))
