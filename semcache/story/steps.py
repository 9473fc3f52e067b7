"""The steps of the story, put together once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from semcache.coordination import Flights, StreamMemory, Twins
from semcache.costs.accounts import Accounts
from semcache.decision import Decider
from semcache.long_work import LongWork
from semcache.request import Keying
from semcache.story.answers import Answers
from semcache.story.classifying import Classifying
from semcache.story.corrections import Corrections
from semcache.story.exact import ExactTier
from semcache.story.explaining import Explaining
from semcache.story.filling import Filling
from semcache.story.judging import Judging
from semcache.story.lookaside import LookAside
from semcache.story.outcomes import Outcome
from semcache.story.paraphrases import Paraphrases
from semcache.story.reembedding import Reembedding
from semcache.story.replays import Replays
from semcache.story.rooms import Rooms
from semcache.story.rules import Servability
from semcache.story.searching import Searching
from semcache.story.stale import StaleAnswers
from semcache.story.statistics import Statistics


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """One object for each step of the story, in the order in which a request meets them."""

    accounts: Accounts
    long_work: LongWork
    keying: Keying
    exact: ExactTier
    classifying: Classifying
    decider: Decider
    stream_memory: StreamMemory
    flights: Flights[Outcome]
    searching: Searching
    reembedding: Reembedding
    paraphrases: Paraphrases
    twins: Twins[Outcome]
    filling: Filling
    stale: StaleAnswers
    answers: Answers
    replays: Replays
    lookaside: LookAside
    explaining: Explaining
    corrections: Corrections
    statistics: Statistics

    @classmethod
    def over(cls, rooms: Rooms) -> Self:
        """Put the steps together, and let the index and the exact tier follow the store's commits."""
        stream_memory = StreamMemory(rooms.settings.limits)
        flights: Flights[Outcome] = Flights(stream_memory)
        twins: Twins[Outcome] = Twins()
        servability = Servability(rooms.clock, rooms.upstream)
        classifying = Classifying(rooms.tasks)
        answers = Answers(rooms.clock)
        exact = ExactTier(rooms.store.entries, rooms.clock, servability, rooms.settings.store.exact_cache_bytes)
        judging = Judging(rooms.decider, rooms.long_work)
        reembedding = Reembedding(rooms.store, rooms.embedder, rooms.clock)
        searching = Searching(rooms, servability, classifying, judging, twins, reembedding=reembedding)
        stale = StaleAnswers(rooms, servability)
        filling = Filling(rooms, judging, stale)
        rooms.store.entries.subscribe(rooms.index.apply)
        return cls(
            accounts=rooms.accounts,
            long_work=rooms.long_work,
            keying=rooms.keying,
            exact=exact,
            classifying=classifying,
            decider=rooms.decider,
            stream_memory=stream_memory,
            flights=flights,
            searching=searching,
            reembedding=reembedding,
            paraphrases=Paraphrases(rooms, servability, judging, twins),
            twins=twins,
            filling=filling,
            stale=stale,
            answers=answers,
            replays=Replays(stream_memory, rooms.long_work),
            lookaside=LookAside(
                rooms,
                exact=exact,
                classifying=classifying,
                searching=searching,
                filling=filling,
                answers=answers,
            ),
            explaining=Explaining(rooms, exact, searching),
            corrections=Corrections(rooms),
            statistics=Statistics(rooms, flights),
        )
