"""Videos of unequal length: the rows of all segments, one video after another, never padded in memory.

    x = Ragged.of([np.ones((3, 4)), np.zeros((5, 4))])   # two videos of 3 and 5 segments, 4 features each
    x.shape      # (2, 5, 4): T is that of the longest video
    x[1]         # [5, 4] segments of the second video, a view
    x[[1, 0]]    # Ragged of both videos in the other order
    means(x)     # [2, 4] float64

Segment t of video n is rows[start[n] + t].
"""

import dataclasses

import numpy as np

from aqa_lib.errors import UserError

FLOATS = ("float16", "float32", "float64")


@dataclasses.dataclass(frozen=True, eq=False)
class Ragged:
    """N videos of length[n] segments each; indexing, iteration and shape are those of an array [N, T, *shape]."""

    rows: np.ndarray  # [R, *shape] of a floating type; other numbers become float32
    length: np.ndarray  # [N] int64, 1 or more each, R together
    start: np.ndarray = dataclasses.field(init=False)  # [N] int64, the first row of each video

    def __post_init__(self):
        rows, length = np.asarray(self.rows), np.asarray(self.length)
        if rows.dtype.kind not in "fiub" or rows.ndim == 0:
            raise UserError(f"ragged rows must be numbers [R, ...], but are {rows.dtype} of shape {rows.shape}")
        if length.ndim != 1 or (length.size and length.dtype.kind not in "iu") or (length < 1).any():
            raise UserError("ragged lengths must be whole numbers [N], 1 or more each")
        if (length > len(rows)).any() or length.sum() != len(rows):  # a sum of huge ones can wrap around
            raise UserError(f"ragged lengths sum to {length.sum()}, but there are {len(rows)} rows")
        dtype = rows.dtype if rows.dtype.name in FLOATS else "float32"
        length = length.astype("int64")
        object.__setattr__(self, "rows", np.ascontiguousarray(rows, dtype=dtype))
        object.__setattr__(self, "length", length)
        object.__setattr__(self, "start", np.cumsum(length) - length)

    @classmethod
    def of(cls, videos):
        """The Ragged of a list of arrays [t, *shape]."""
        videos = [np.asarray(v) for v in videos]
        if not videos:
            raise UserError("ragged rows need at least one video")
        for n, video in enumerate(videos):
            if video.ndim == 0 or video.shape[1:] != videos[0].shape[1:]:
                raise UserError(
                    f"video {n} has shape {video.shape}, but the first one {videos[0].shape}: all but T must agree"
                )
        return cls(np.concatenate(videos), np.array([len(v) for v in videos]))

    @property
    def shape(self):
        return (len(self.length), int(self.length.max(initial=0)), *self.rows.shape[1:])

    @property
    def ndim(self):
        return self.rows.ndim + 1

    @property
    def dtype(self):
        return self.rows.dtype

    @property
    def nbytes(self):
        return self.rows.nbytes

    def __len__(self):
        return len(self.length)

    def __getitem__(self, items):
        """The segments [t, *shape] of one video, a view, or the Ragged of several."""
        items = np.arange(len(self))[items]
        if items.ndim == 0:
            return self.rows[self.start[items] : self.start[items] + self.length[items]]
        length = self.length[items]
        first = np.repeat(self.start[items] - (np.cumsum(length) - length), length)  # [R'] less the rows before
        return Ragged(self.rows[first + np.arange(length.sum())], length)

    def __iter__(self):
        return (self[n] for n in range(len(self)))

    def __array__(self, *args, **kwargs):
        raise UserError("videos of unequal length are no array: take rows and start, or padded()")

    def astype(self, dtype):
        """The same rows as another floating type; itself where it has that type."""
        return self if self.dtype == dtype else Ragged(self.rows.astype(dtype), self.length)

    def equals(self, other):
        """Whether `other` is a Ragged with the same lengths and rows."""
        alike = isinstance(other, Ragged) and np.array_equal(self.length, other.length)
        return alike and np.array_equal(self.rows, other.rows)

    def means(self):
        """Mean over the segments of each video [N, *shape] float64."""
        return np.stack([video.mean(0, dtype=np.float64) for video in self])

    def mean(self, axis=1):
        """The same in the features' own type, as an array's mean over axis 1."""
        if axis != 1:
            raise UserError("videos of unequal length have a mean over their own segments alone: take mean(1)")
        return np.stack([video.mean(0) for video in self])

    def padded(self):
        """[N, T, *shape] with zeros behind the last segment of each video."""
        out = np.zeros(self.shape, dtype=self.dtype)
        out[inside(self.length, out.shape[1])] = self.rows
        return out

    def even(self):
        """The array [N, T, *shape] where all videos have T segments, no copy; otherwise itself."""
        same = len(self) > 0 and (self.length == self.length[0]).all()
        return self.rows.reshape(self.shape) if same else self


def inside(length, T):
    """[N, T] bool: which entries of padded videos hold a segment."""
    return np.arange(T) < np.asarray(length)[:, None]


def trimmed(x, length):
    """The Ragged of padded videos [N, T, *shape], of which the first length[n] segments count."""
    return Ragged(x[inside(length, x.shape[1])], length)


def fitted(x, N, T, length=None):
    """x, [N, T, *shape] or Ragged, in the rows of N videos of T segments, or of `length`; None where it does not fit.

    An array comes back where all lengths are the same, otherwise a Ragged.
    """
    if x.ndim < 3 or 0 in x.shape:
        return None
    if isinstance(x, Ragged):
        return x.even() if np.array_equal(x.length, np.full(N, T) if length is None else length) else None
    if x.shape[:2] != (N, T):
        return None
    return x if length is None else trimmed(x, length).even()


def means(x):
    """Mean over the segments of each video [N, *shape] float64, of an array [N, T, *shape] or a Ragged."""
    return x.means() if isinstance(x, Ragged) else x.mean(1, dtype=np.float64)
