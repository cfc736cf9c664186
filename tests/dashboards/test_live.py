"""Prometheus itself, as shipped for it, scrapes Ray by Ray's own list of nodes while a real sweep runs."""

import json
import re
import shutil
import subprocess
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from socket import create_server
from tempfile import mkdtemp
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from fltac.layers import read
from fltac.monitoring import METRICS
from fltac.points import Study
from fltac.sweep.run import sweep
from tests.dashboards.boards import DASHBOARDS, GPU, boards, queries, rules, tool
from tests.tiny import write_tiny

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]
SWEEP = [
    "name=live",
    "rounds=12",
    "alerts.bytes=1000",
    "sweep.space.adapter.rank.grid=[1,2]",
    "sweep.concurrent=1",
    "tasks.mood.validation=0.1",
    "tasks.weather.validation=0.1",
    "trackers=[{type='tensorboard'}]",
]


class Prometheus:
    """A server over the shipped configuration that asks every second, and its answers since it began."""

    def __init__(self, folder, discovery):
        with closing(create_server(("127.0.0.1", 0))) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        config = (DASHBOARDS / "prometheus" / "prometheus.yml").read_text()
        assert "/tmp/ray/prom_metrics_service_discovery.json" in config
        config = config.replace("/tmp/ray/prom_metrics_service_discovery.json", str(discovery)).replace(" 10s", " 1s")
        config = config.replace("rules.yml", str(DASHBOARDS / "prometheus" / "rules.yml"))
        (folder / "prometheus.yml").write_text(config)
        self.log = (folder / "log").open("w")
        self.began = time.time()
        self.help = {}  # as was told when a point ended: it is forgotten soon after the metric
        options = {
            "config.file": folder / "prometheus.yml",
            "storage.tsdb.path": folder / "data",
            "web.listen-address": self.address,
        }
        command = [tool("prometheus"), *(f"--{key}={value}" for key, value in options.items())]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=20)
        self.log.close()

    def ask(self, path, **parameters):
        with urlopen(f"http://{self.address}/api/v1/{path}?{urlencode(parameters, doseq=True)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def wait(self, condition, seconds=60):
        end = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return
            except URLError:  # not up yet
                pass
            assert time.monotonic() < end
            time.sleep(0.2)

    def series(self, query):
        """Of a query, at each second since it began."""
        return self.ask("query_range", query=query, start=self.began, end=time.time(), step=1)["result"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep that was watched: Prometheus, and the sweep's folder."""
    tool("prometheus")
    from ray._private.metrics_agent import PrometheusServiceDiscoveryWriter
    from ray.cluster_utils import Cluster

    folder, temporary = tmp_path_factory.mktemp("live"), Path(mkdtemp(prefix="fltac-"))  # short: sockets lie in it
    study = Study(read(write_tiny(folder), SWEEP))
    head = {
        "num_cpus": 2,
        "include_dashboard": False,
        "temp_dir": str(temporary),
        "_system_config": {"metrics_report_interval_ms": 1000},
    }
    with closing(Prometheus(folder, temporary / "prom_metrics_service_discovery.json")) as server:
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            writer = PrometheusServiceDiscoveryWriter(cluster.gcs_address, str(temporary))  # as Ray's dashboard does it
            server.wait(lambda: writer.write() or server.ask("query", query="ray_node_cpu_count")["result"])
            sweep(study, folder / "out", cluster.address, lambda text: server.help.update(server.ask("metadata")))
        finally:
            cluster.shutdown()
            shutil.rmtree(temporary, ignore_errors=True)
        yield server, folder / "out"


EXPRESSIONS = [(where, query) for where, query in queries() if not GPU.search(query)]
SIDES = [  # of an alert: what is compared, and with what
    (f"{name}, {side}", part.strip())
    for kind, name, expression in rules()
    for side, part in zip(("left", "right"), re.split(r"\s>\s", expression), strict=False)
    if kind == "alert" and not GPU.search(expression) and not re.fullmatch(r"[\d.]+", part.strip())
]


def test_every_query_of_a_board_has_data(swept):
    server, _ = swept
    assert len(EXPRESSIONS) > 40
    assert [where for where, query in EXPRESSIONS if not server.series(query)] == []


def test_both_sides_of_every_alert_have_data(swept):
    server, _ = swept
    assert len(SIDES) >= 5
    assert [where for where, query in SIDES if not server.series(query)] == []


def test_prometheus_evaluates_every_rule_without_fault(swept):
    server, _ = swept
    told = [rule for group in server.ask("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"]: (rule["health"], rule.get("lastError")) for rule in told} == {
        name: ("ok", None) for _, name, _ in rules()
    }


def test_every_metric_of_the_registry_was_scraped_with_its_labels_and_no_other_of_ours(swept):
    server, _ = swept
    found = server.ask("series", **{"match[]": '{__name__=~"ray_fltac.*"}', "start": server.began, "end": time.time()})
    assert {one["__name__"] for one in found} == {f"ray_{name}" for name in METRICS}
    rays = {"job", "instance", "SessionName", "NodeAddress", "WorkerId", "Component", "Version"}
    for one in found:
        own = {label for label in one if label not in rays and not label.startswith(("__", "otel_"))}
        assert own == {"run", *METRICS[one["__name__"].removeprefix("ray_")].labels}
        assert one["run"] == "live"
    for name, metric in METRICS.items():
        family = name if f"ray_{name}" in server.help else name.removesuffix("_total")  # as OpenMetrics calls it
        (said,) = server.help[f"ray_{family}"]
        assert (said["type"], said["help"]) == (metric.kind, metric.help)


def test_a_gauge_that_was_set_once_holds_until_the_next(swept):
    server, _ = swept
    (left,) = server.series('ray_fltac_sweep_points{status="left"} == 2')
    times = [at for at, _ in left["values"]]
    assert len(times) >= 5
    assert max(after - before for before, after in pairwise(times)) <= 5  # a busy machine asks late; Ray forgets later


def test_figures_are_those_of_the_records(swept):
    server, out = swept
    lines = [
        json.loads(line)
        for point in ("0000", "0001")
        for line in (out / "points" / point / "rounds.jsonl").read_text().splitlines()
    ]

    def last(query):
        (one,) = server.series(query)
        return max(float(value) for _, value in one["values"])

    counted = last("max_over_time(sum(ray_fltac_rounds_total)[1h:1s])")
    assert 12 < counted <= 24  # the last second may be lost with the process
    sent = last('max_over_time(sum(ray_fltac_bytes_total{direction="up"})[1h:1s])')
    totals = {sum(line["bytes_up"] for line in lines[: n + 1]) for n in range(len(lines))}
    assert sent in totals
    values = {line["accuracy"]["mood"] for line in lines}
    for one in server.series('ray_fltac_accuracy_ratio{task="mood",split="test"}'):
        assert {float(value) for _, value in one["values"]} <= values


def test_the_alert_of_the_budget_fired(swept):
    server, _ = swept
    assert server.series('ALERTS{alertname="FltacBytesOverBudget",alertstate="firing",run="live"}')


@pytest.mark.parametrize("name", boards())
def test_the_variables_of_a_board_find_their_values(swept, name):
    server, _ = swept
    for one in boards()[name]["templating"]["list"]:
        if one["type"] == "query" and one["name"] != "Cluster":  # a label that KubeRay sets
            series, label = re.fullmatch(r"label_values\((.*), (\w+)\)", one["query"]["query"]).groups()
            series = series.replace("$SessionName", ".*").replace("$Cluster", ".*")
            asked = {"match[]": series, "start": server.began, "end": time.time()}
            assert server.ask(f"label/{label}/values", **asked), one["name"]


def test_the_trackers_of_each_point_have_all_of_its_rounds(swept):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, out = swept
    for point in ("0000", "0001"):
        told = EventAccumulator(str(out / "points" / point / "tensorboard")).Reload().Scalars("accuracy_mean")
        assert [event.step for event in told] == list(range(1, 13))
