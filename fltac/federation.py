"""The federation: Algorithm 1 of arXiv 2404.15384, with the clusters found instead of given."""

from __future__ import annotations

from collections.abc import Iterator

from fltac.judging import answers, judge_v0, questions, written
from fltac.lateness import late
from fltac.orders import orders
from fltac.protocol import Runtime
from fltac.records.clock import Clock
from fltac.records.rounds import RoundRecord, round_record
from fltac.records.store import RunDirectory
from fltac.restoring import restored
from fltac.world import World


def federate(world: World, runtime: Runtime, run: RunDirectory, began: float | None = None) -> Iterator[RoundRecord]:
    """Rounds until the experiment has all of its own; each is on disk when it is yielded."""
    clock = Clock(began)
    done, states, post = restored(world, runtime, run)
    untuned = post  # v0 is judged after the first round, which need not wait for it
    there = {client for round in range(1, done + 1) for client in world.draw_clients(round)}  # they have the base
    clock.lap("start")
    for round in range(done + 1, world.experiment.rounds + 1):
        clock.lap("record")
        drawn = world.draw_clients(round)
        updates, ledger = runtime.train(round, orders(world, round, drawn, post, states), post)
        states = {**states, **ledger.states}
        clock.lap("training")
        post, step = runtime.aggregate(updates, late(world, round, ledger.rows))
        clock.lap("server")
        asked = questions(world, round, post, states)
        scores = runtime.evaluate([q.job for q in asked], post)
        judged = {"evaluations": answers(world, asked, scores), "generations": written(world, asked, scores)}
        if round == 1 and not run.has_bars():  # later ones `restored` sees to
            scores = [*scores, *judge_v0(world, runtime, run, untuned)]
        clock.lap("evaluation")
        rules, base = world.experiment.alerts, world.sends * len(set(drawn) - there) * world.base.bytes
        there.update(drawn)
        truths = world.truths(step.heard)
        told, keep = step._asdict(), world.experiment.checkpoint.keep
        seconds = clock.split(runtime.workers, ledger.rows, [score.seconds for score in scores], told, post.seconds)
        record = round_record(round, ledger.rows, told, judged, truths, seconds, rules, base, ledger.lost)
        run.finish_round(record, runtime.snapshot(keep > 0), states, keep)
        yield record
