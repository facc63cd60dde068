"""Recovery of segments: which are hidden in training, and what a trained network encodes and recovers of videos."""

import torch

from aqa_lib.data.ragged import Ragged
from aqa_lib.errors import UserError
from aqa_lib.methods._encoded import for_all
from aqa_lib.models.functions import hashed


def keep(batch, place=0):
    """1 for kept and 0 for masked segments [K,T,B]: the `masks` smallest of T random words a video.

    place: the number of the key, 0 for the unlabelled videos, 1 for the labelled.
    """
    if batch.runs[0]["pretext"] == "still":
        return None
    K, _, T, B, _ = batch.x.shape
    words = hashed(batch.keys["mask"][:, place : place + 1], T * B).view(K, T, B)
    if batch.mask is not None:
        words = words.masked_fill(batch.mask[:, -1 if place == 0 else 0] == 0, torch.iinfo(words.dtype).max)
    masked = words.topk(batch.runs[0]["masks"], dim=1, largest=False).indices
    return batch.x.new_ones(K, T, B).scatter_(1, masked, 0)


def keep_alike(batch, place=0):
    """The same with one stretch of segments masked at the same place of all videos, so that each could have the
    target of every other; of videos of unequal length at the same share of each."""
    if batch.runs[0]["pretext"] == "still":
        return None
    masks, length = batch.runs[0]["masks"], batch.length[:, -1 if place == 0 else 0].unsqueeze(1)  # [K,1,B]
    share = (hashed(batch.keys["mask"][:, place], 1) & 0xFFFF).double().unsqueeze(2) / 2**16  # [K,1,1]
    after = torch.arange(batch.x.shape[2], device=length.device)[:, None] - (share * (length - masks + 1)).long()
    return ((after < 0) | (after >= masks)).to(batch.x.dtype)  # [K,T,B]


@torch.no_grad()
def encode(model, x):
    """f [N,TC] of features x [N,T,D] or Ragged by the first run of a network in evaluation mode, in numpy.

    A network of videos of unequal length gives [N,shares*C].
    """
    return model.encoder(*seen_by(model, x))[0, 0].cpu().numpy()


@torch.no_grad()
def recovery_error(model, x, other=0):
    """Mean absolute error [N,T] of what the first run recovers of each segment, hidden alone; x as in `encode`.

    other: against the same segment of the video that stands so many places further on, as if it were the hidden
    one. Beyond the end of a video, or of the other, it is NaN.
    """
    x, *more = seen_by(model, x)  # [K,1,T,N,D]
    errors = []
    for t in range(x.shape[2]):
        hidden = x.clone()
        hidden[:, :, t] = 0
        f = model.encoder(hidden, *more)[:, 0]
        errors.append((model.decoder(f)[0] - x[0, 0, t].roll(-other, 0)).abs().mean(-1))
    errors = torch.stack(errors)  # [T,N]
    if more:
        ended = more[-1][0, 0] == 0
        errors = errors.masked_fill(ended | ended.roll(-other, 1), torch.nan)
    return errors.T.cpu().numpy()


def seen_by(model, x):
    """The arguments of a network's encoder in evaluation, for videos x [N,T,D] or Ragged."""
    ragged, segments = isinstance(x, Ragged), model.encoder.segments
    length = torch.as_tensor(x.length) if ragged else torch.full((len(x),), x.shape[1])
    if not model.ragged and (ragged or x.shape[1] != segments):
        least, most = int(length.min()), int(length.max())
        has = f"{least} to {most}" if least < most else most
        raise UserError(
            f"the videos have {has} segments, but the network was trained on {segments} each: cut them into as many"
        )
    like = dict(dtype=model.flat.dtype, device=model.flat.device)
    x = torch.as_tensor(x.padded() if ragged else x).to(**like).transpose(0, 1)[None, None]
    mask = (torch.arange(x.shape[2])[:, None] < length).to(**like)[None, None] if model.ragged else None
    return for_all(model.flat.shape[0], x, mask)
