"""What a request's task is: by rule before the exact tier has missed, by exemplar once it is embedded."""

from __future__ import annotations

from dataclasses import replace

from semcache.costs.account import Account
from semcache.model import Entry, KeyedRequest, Task, Tier, Vector
from semcache.request import Tasks


class Classifying:
    """Names task type and complexity of requests."""

    def __init__(self, tasks: Tasks) -> None:
        """Prepare it with the operator's rules and exemplars."""
        self._tasks = tasks

    def classified(self, keyed: KeyedRequest) -> KeyedRequest:
        """Return the request with its task as far as rules tell."""
        return with_task(keyed, self._tasks.by_rule(keyed))

    def by_rule(self, account: Account, keyed: KeyedRequest) -> KeyedRequest:
        """Return the request with its task as far as rules tell, and note it in the account."""
        keyed = self.classified(keyed)
        account.task = keyed.task
        return keyed

    def by_exemplar(self, account: Account, keyed: KeyedRequest, vector: Vector) -> KeyedRequest:
        """Return a request that no rule knows with the task of its nearest exemplar.

        Args:
            account: where the task is noted.
            keyed: the request; one that has a task type comes back as it is.
            vector: its embedding, unit length, shape (dimension,).
        """
        if keyed.task.task_type:
            return keyed
        account.task = task = self._tasks.by_exemplar(keyed, vector)
        return with_task(keyed, task)

    def is_open(self, keyed: KeyedRequest) -> bool:
        """Return whether an exemplar may still name the task type, and with it another threshold."""
        return self._tasks.by_exemplars and not keyed.task.task_type and keyed.cacheability.tier is Tier.SEMANTIC


def with_task(keyed: KeyedRequest, task: Task) -> KeyedRequest:
    """Return the request with what is known of its task."""
    if task == keyed.task:
        return keyed
    request = keyed.request
    if task.task_type != request.task_type:
        request = replace(request, task_type=task.task_type)
    return replace(keyed, request=request, task=task)


def task_of_hit(task: Task, entry: Entry) -> Task:
    """Return the task of a hit: the request's own, otherwise that of the request that its entry was stored for."""
    return Task(entry.task_type, "entry") if entry.task_type and not task.task_type else task
