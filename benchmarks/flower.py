"""The same federation by Flower, in an environment that has it: `python -m benchmarks.flower FILE ROUNDS RESULT`.

Its best case: the model stays in the actor, two CPUs, no dashboard, nothing but arrays in the messages. Waits for a
line before each round and says `done` after it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from benchmarks.plain import read, resident

FILE, ROUNDS, RESULT = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])


def main() -> None:
    client, server = ClientApp(), ServerApp()

    @client.train()
    def train(message: Message, context: Context) -> Message:
        model, work = resident(file), read(file)
        key = (int(context.node_config["partition-id"]), 0)
        task, examples = work["holders"][key]
        batches = work["batches"][*key, int(message.content["config"]["server-round"])]
        learned = model.train([tuple(message.content["arrays"].to_numpy_ndarrays())], task, [batches])
        measured = MetricRecord({"num-examples": examples})
        content = RecordDict({"arrays": ArrayRecord(list(learned[0])), "metrics": measured})
        return Message(content=content, reply_to=message)

    @server.main()
    def serve(grid: Grid, context: Context) -> None:
        work, model = read(file), resident(file)
        ((task, head),) = work["heads"].items()

        def judge(round: int, arrays: ArrayRecord) -> None:
            if round:
                model.accuracy(tuple(arrays.to_numpy_ndarrays()), task)
                print("done", flush=True)
            if round < ROUNDS:
                sys.stdin.readline()

        everyone = {"fraction_evaluate": 0.0, "min_train_nodes": clients, "min_available_nodes": clients}
        start = ArrayRecord([work["start"], head])
        found = FedAvg(fraction_train=1.0, **everyone).start(grid, start, ROUNDS, evaluate_fn=judge)
        adapter, head = found.arrays.to_numpy_ndarrays()
        np.savez(RESULT, adapter=adapter, head=head)

    file, clients = FILE, len(read(FILE)["holders"])
    resources = {"num_cpus": 1, "num_gpus": 0.0}
    ray = {"address": "local", "num_cpus": 2, "include_dashboard": False}  # not one that happens to be there
    run_simulation(server, client, clients, backend_config={"client_resources": resources, "init_args": ray})


if __name__ == "__main__":
    main()
