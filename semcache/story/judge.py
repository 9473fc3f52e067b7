"""The judge: a model is asked which candidate of the grey zone serves a request, when an answer to that is worth it.

1. What it has said of a pair is remembered, so that an equal request doesn't pay again.
2. It is asked only where what a yes would spare exceeds what the question takes (`costs.outlays.is_worth`).
3. A question is a task of its own. A request waits for it for `decision.verifier.deadline_s`; then it is a miss. The
   task runs to its end, is booked, and its reply is remembered, whoever still waits.
4. A judge that fails or is late again and again rests, by a breaker of its own. Its targets' breakers don't know of it:
   they may answer requests as well.

Nothing that goes wrong here fails a request: it is a miss, and a reason says why.
"""

from __future__ import annotations

import asyncio
import http
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog

from semcache.costs.account import Account
from semcache.costs.outlays import Outlay, OutlayMeans, Share, is_worth
from semcache.decision import (
    JUDGE_BUSY,
    JUDGE_FAILED,
    JUDGE_LATE,
    JUDGE_PENDING,
    JUDGE_UNCLEAR,
    JUDGE_UNSURE,
    JUDGED_OTHER,
    JUDGED_SAME,
    grey_zone,
    with_refused,
    with_served,
)
from semcache.errors import BudgetExceededError, SemcacheError, UnknownModelError, UpstreamError
from semcache.model import (
    NANOUSD_PER_USD,
    Answer,
    CacheMode,
    Decision,
    Judgement,
    KeyedRequest,
    Purpose,
    Status,
    UpstreamCall,
)
from semcache.story.opinions import JudgeOutcome, Opinions, outcome_of_reply
from semcache.story.rooms import Rooms
from semcache.story.usages import Usages
from semcache.upstream import (
    PROMPT_VERSION,
    Blame,
    Breaker,
    BreakerState,
    blame,
    judge_body,
    output_limit_of,
    read_reply,
)

_log = structlog.get_logger(__name__)
_MAX_RUNNING = 64
"""Questions under way, the late ones included: a judge that hangs must not gather calls."""
_LONGEST_S = 30.0
"""After this time a call for one token is given up."""
_WITHOUT_LOGPROBS_S = 3600.0
"""How long a refusal of log probabilities is remembered; the upstream may be another one by then."""
_REFUSED_FIELD = frozenset({http.HTTPStatus.BAD_REQUEST, http.HTTPStatus.UNPROCESSABLE_ENTITY})
"""Statuses of an upstream that doesn't take a field of the body."""


class Judge:
    """Asks a model of a configured route about the candidates that only their score keeps from being served."""

    def __init__(self, rooms: Rooms) -> None:
        """Prepare it; without `decision.verifier.route` it leaves every decision as it is."""
        self._settings = rooms.settings.decision.verifier
        self._clock = rooms.clock
        self._upstream = rooms.upstream
        self._accounts = rooms.accounts
        self._metrics = rooms.accounts.metrics
        self._usages = Usages(rooms)
        self._opinions = Opinions()
        self._questions = OutlayMeans()
        self._yes = Share()
        self._running: dict[tuple[bytes, tuple[int, ...]], asyncio.Task[JudgeOutcome]] = {}
        self._breaker = Breaker(rooms.settings.upstream.breaker, self._log_change)
        self._without_logprobs_until_s = -math.inf
        self._nanousd_per_s = float(self._settings.usd_per_s) * NANOUSD_PER_USD
        if self._settings.route:
            _log.info("story.judge_ready", route=self._settings.route, prompt_version=PROMPT_VERSION)

    def __repr__(self) -> str:
        """Return its route, the questions under way and the pairs that are remembered."""
        return f"<Judge {self._settings.route!r}: {len(self._running)} running, {len(self._opinions)} remembered>"

    async def decide(self, account: Account, keyed: KeyedRequest, decision: Decision) -> Decision:
        """Return the decision with a candidate of the grey zone served, or with the reason why none is.

        Args:
            account: the request's account, which the question is booked under.
            keyed: the request.
            decision: what guards and policy say. It comes back as it is where the judge has no part in it.
        """
        settled, asked = self._recall(keyed, decision)
        if not asked:
            if settled is not decision:
                self._metrics.judge_asked("remembered_same" if settled.served else "remembered_other")
            return settled
        if not self._may_ask(keyed):
            return settled
        if not self._is_worth(keyed, asked):
            self._yes.fade()
            self._metrics.judge_asked("not_worth")
            return settled
        if not self._breaker.admits(self._clock.monotonic()):
            self._metrics.judge_asked("resting")
            return settled
        outcome = await self._outcome(account, keyed, asked)
        account.lap("judge")
        self._metrics.judge_asked(outcome.reason.removeprefix("judged_").removeprefix("judge_"))
        if outcome.entry_id:
            return with_served(decision, outcome.entry_id, outcome.probabilities.get(outcome.entry_id))
        return with_refused(settled, asked, outcome.reason, outcome.probabilities)

    def foresee(self, keyed: KeyedRequest, decision: Decision) -> Decision:
        """Return what `decide` would, for a person who asks why; nobody is asked, which would cost money."""
        settled, asked = self._recall(keyed, decision)
        if not asked or not self._may_ask(keyed) or not self._is_worth(keyed, asked):
            return settled
        return with_refused(settled, asked, JUDGE_PENDING, {})

    async def drain(self, grace_s: float) -> None:
        """Let the questions under way end and be booked, at most `grace_s` seconds; cancel the rest."""
        tasks = set(self._running.values())
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=grace_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    def _recall(self, keyed: KeyedRequest, decision: Decision) -> tuple[Decision, tuple[Judgement, ...]]:
        """Return the decision as far as it is remembered, and the candidates that the judge has no opinion on."""
        wanted = keyed.request.control.similarity_threshold
        zone = grey_zone(decision, self._settings.from_similarity, wanted) if self._settings.route else ()
        known = {judgement.candidate.entry.entry_id: self._opinions.of(keyed, judgement) for judgement in zone}
        for entry_id, opinion in known.items():
            if opinion is not None and opinion.reason == JUDGED_SAME:
                return with_served(decision, entry_id, opinion.probability), ()
        refused = [judgement for judgement in zone if known[judgement.candidate.entry.entry_id] is not None]
        asked = tuple(judgement for judgement in zone if known[judgement.candidate.entry.entry_id] is None)
        if not refused:
            return decision, asked
        opinions = {entry_id: opinion for entry_id, opinion in known.items() if opinion is not None}
        is_unsure = any(opinion.reason == JUDGE_UNSURE for opinion in opinions.values())
        probabilities = {entry_id: opinion.probability for entry_id, opinion in opinions.items()}
        return with_refused(decision, refused, JUDGE_UNSURE if is_unsure else JUDGED_OTHER, probabilities), asked

    def _may_ask(self, keyed: KeyedRequest) -> bool:
        """Return whether a model may be asked for this request now.

        A cache-only request asks no upstream, and a yes would spare none. In degraded mode the optional calls are off.
        """
        return (
            keyed.request.control.mode is not CacheMode.CACHE_ONLY
            and "optional_off" not in self._upstream.mode.measures
        )

    def _is_worth(self, keyed: KeyedRequest, asked: Sequence[Judgement]) -> bool:
        answer = self._accounts.answer_outlay(keyed.alias, asked[0].candidate.entry.answer)
        question = self._questions.mean(self._settings.route)
        if question is None:  # The first is weighed by what it may cost, and by all the time that it may take.
            body = self._body(keyed, asked)
            estimate = self._accounts.estimate(len(body), self._models(), output_limit_of(body))
            question = Outlay(max(cost.total_nanousd for cost in estimate.values()), self._settings.deadline_s)
        return is_worth(answer, question, self._yes.value, self._nanousd_per_s)

    async def _outcome(self, account: Account, keyed: KeyedRequest, asked: Sequence[Judgement]) -> JudgeOutcome:
        """Return what comes of a question in time. An equal one that is under way is waited for instead."""
        entry_ids = tuple(judgement.candidate.entry.entry_id for judgement in asked)
        key = (keyed.exact_key, entry_ids)
        task = self._running.get(key)
        if task is not None:
            return await self._in_time(task)
        if len(self._running) >= _MAX_RUNNING:
            return JudgeOutcome(JUDGE_BUSY)
        task = asyncio.get_running_loop().create_task(self._ask(account, keyed, asked))
        self._running[key] = task
        task.add_done_callback(lambda _: self._running.pop(key, None))
        beginning = self._breaker.begin()
        try:
            outcome = await self._in_time(task)
        except BaseException:
            self._breaker.abandoned(beginning)
            raise
        if outcome.reason == JUDGE_LATE or outcome.is_fault:
            self._breaker.failed(beginning, self._clock.monotonic())
        elif outcome.reason == JUDGE_FAILED:
            self._breaker.abandoned(beginning)
        else:
            self._breaker.succeeded(beginning, self._clock.monotonic())
        return outcome

    async def _in_time(self, task: asyncio.Task[JudgeOutcome]) -> JudgeOutcome:
        """Return the outcome of a question, or that it was late; the question runs on."""
        done, _ = await asyncio.wait({task}, timeout=self._settings.deadline_s)
        if not done:
            return JudgeOutcome(JUDGE_LATE)
        return JudgeOutcome(JUDGE_FAILED) if task.cancelled() else task.result()

    async def _ask(self, account: Account, keyed: KeyedRequest, asked: Sequence[Judgement]) -> JudgeOutcome:
        """Ask, book what it costs, and remember the reply."""
        started_s = self._clock.monotonic()
        try:
            return await self._reply(account, keyed, asked)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the judge costs a hit, and never a request
            tell = _log.info if isinstance(error, BudgetExceededError) else _log.warning
            tell("story.judge_failed", error=str(error), exc_info=not isinstance(error, SemcacheError))
            return JudgeOutcome(JUDGE_FAILED, is_fault=_is_judges_fault(error))
        finally:
            self._metrics.judge_took(self._clock.monotonic() - started_s)

    async def _reply(self, account: Account, keyed: KeyedRequest, asked: Sequence[Judgement]) -> JudgeOutcome:
        """Return what the judge's reply means, and remember it.

        Raises:
            SemcacheError: there is no reply.
        """
        body = self._body(keyed, asked)
        try:
            answer = await self._buy(account, keyed, body, asked)
        except UpstreamError as error:
            self._note_refusal(error, body)
            raise
        if answer.degraded:
            _log.warning(
                "story.judge_failed", error="A lesser model than the judge answered, whose word doesn't count."
            )
            return JudgeOutcome(JUDGE_FAILED, is_fault=True)
        reply = read_reply(answer.body, answer.text, len(asked))
        if reply is None:
            _log.info("story.judge_unclear", chars=len(answer.text), model=answer.model)
            return JudgeOutcome(JUDGE_UNCLEAR)
        entry_ids = [judgement.candidate.entry.entry_id for judgement in asked]
        outcome = outcome_of_reply(reply, entry_ids, self._settings.least_probability)
        self._yes.add(outcome.reason == JUDGED_SAME)
        self._opinions.keep(keyed, entry_ids, outcome)
        return outcome

    async def _buy(self, account: Account, keyed: KeyedRequest, body: bytes, asked: Sequence[Judgement]) -> Answer:
        """Return the judge's answer, whose line is in the ledger."""
        shown = sum([len(judgement.candidate.entry.text) for judgement in asked], len(keyed.text))
        limit = output_limit_of(body)
        # An estimate of a usage that isn't told goes by the judge's own body, and not by the request's.
        question = replace(keyed, prompt_chars=max(shown, len(body)), output_limit=limit, choices=1)
        started_s = self._clock.monotonic()
        purchase_of = self._accounts.side_purchase(
            account, body, self._models(), limit, status=Status.MISS, purpose=Purpose.JUDGE
        )
        async with purchase_of as purchase:
            call = UpstreamCall(
                alias=self._settings.route,
                body=body,
                deadline_s=started_s + max(_LONGEST_S, self._settings.deadline_s),
                request_id=account.request_id,
                barred=purchase.barred,
                tenant=keyed.request.tenant,
                optional=True,
            )
            try:
                answer = self._usages.completed(question, await self._upstream.complete(call), call.protocol)
            finally:
                self._usages.book_lost(question, call, purchase, Status.MISS)
            line = purchase.paid(answer)
            seconds = min(self._clock.monotonic() - started_s, self._settings.deadline_s)
            self._questions.note(self._settings.route, Outlay(line.spent.total_nanousd, seconds))
            self._metrics.judge_paid(line.spent.total_nanousd)
        return answer

    def _body(self, keyed: KeyedRequest, asked: Sequence[Judgement]) -> bytes:
        return judge_body(
            self._settings.route,
            keyed.text,
            [judgement.candidate.entry.text for judgement in asked],
            logprobs=self._asks_logprobs,
            fields=self._settings.fields,
        )

    @property
    def _asks_logprobs(self) -> bool:
        return self._settings.logprobs and self._clock.monotonic() >= self._without_logprobs_until_s

    def _models(self) -> Mapping[str, frozenset[str]]:
        """Return the models that the judge's call may be sent to, each with its targets."""
        route = self._settings.route
        return {model: self._upstream.targets_of(model) for model in self._upstream.candidates(route) or (route,)}

    def _log_change(self, before: BreakerState, state: BreakerState) -> None:
        _log.warning("story.judge_breaker_changed", state=state.name.lower(), before=before.name.lower())

    def _note_refusal(self, error: UpstreamError, body: bytes) -> None:
        """Remember an upstream that refuses log probabilities by name: the next question leaves them out.

        A refusal that doesn't name them may be of one request's text. Then the next question asks for them again, or
        one caller could take the probability from everybody's questions.
        """
        refused = error.http_status in _REFUSED_FIELD and b"logprobs" in error.body
        if refused and self._asks_logprobs and b'"logprobs"' in body:
            self._without_logprobs_until_s = self._clock.monotonic() + _WITHOUT_LOGPROBS_S
            _log.warning("story.judge_logprobs_refused", effect="it is asked without log probabilities for an hour")


def _is_judges_fault(error: Exception) -> bool:
    """Return whether an error says something of the judge, and not of one request's text or budget."""
    if isinstance(error, UpstreamError):
        return blame(error) is not Blame.REQUEST
    return isinstance(error, UnknownModelError)
