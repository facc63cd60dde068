"""Which runs this process trains: it claims a stack at a time, so that others who want the same runs share the work.

with Claims(ledger, specs, retry, record) as claims:
    train(..., on_result=claims.keep, claim=claims.take)
"""

from aqa_lib.ledger.identity import run_id
from aqa_lib.ledger.locks import Heartbeat


class Claims:
    """Locks on some of the runs `specs`, kept alive until their results are written; `record` goes with each result."""

    def __init__(self, ledger, specs, retry=False, record=None):
        self.ledger, self.specs, self.retry, self.record = ledger, specs, retry, record
        self.endings = [ledger.ending(run_id(spec)) for spec in specs]
        self.locks, self.heart = {}, Heartbeat()  # number of a run -> its lock, also when it has been released

    def take(self, numbers):
        """Lock the runs with these numbers; returns those that were got.

        Where another process has the first, it is about to take all of them, or has: then none is.
        """
        # one that failed again since we began is not tried once more
        mine = [i for i in numbers if self.ledger.ending(run_id(self.specs[i])) == self.endings[i]]
        first = self._lock(mine[:1])
        return first and first + self._lock(mine[1:])

    def _lock(self, numbers):
        locks = self.ledger.lock_many([self.specs[i] for i in numbers], retry=self.retry)
        self.heart.add(locks)
        got = {i: lock for i, lock in zip(numbers, locks, strict=True) if lock is not None}
        self.locks |= got
        return list(got)

    def keep(self, number, result):
        """Write what a run has left."""
        lock = self.locks[number]
        if result.complete:
            kept = result.weights, self.record, result.about
            lock.complete(result.metrics, result.curve, result.predictions, *kept, held=result.held)
        else:
            lock.fail(result.reason)

    def __enter__(self):
        self.heart.__enter__()
        return self

    def __exit__(self, *error):
        self.heart.__exit__(*error)
