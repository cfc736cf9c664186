"""Nodes that come later, and storage that is not shared, on a real cluster of two nodes."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fltac.errors import InputError
from fltac.runtime.capacity import Need
from fltac.runtime.cluster import Cluster
from fltac.runtime.nodes import gathered, require_shared


@pytest.mark.ray
def test_a_growing_cluster_is_waited_for_and_its_storage_is_tried_on_every_node(monkeypatch, tmp_path):
    from ray.cluster_utils import Cluster as Local

    def two(nodes):
        return Need(2, 1, 0)

    local = Local(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        with Cluster(lambda nodes: Need(1, 1, 0), local.address), ThreadPoolExecutor() as aside:
            with pytest.raises(InputError, match="needs 2 client actors of 1 CPUs and 0 GPUs each, but"):
                gathered(two)
            monkeypatch.setenv("FLTAC_WAIT_S", "60")
            waiting = aside.submit(gathered, two)
            local.add_node(num_cpus=1)
            nodes, need = waiting.result()
            assert ([node.cpus for node in nodes], need) == ([1, 1], Need(2, 1, 0))
            require_shared(tmp_path / "new")
            assert list(tmp_path.iterdir()) == []
            (tmp_path / "there").mkdir()
            require_shared(tmp_path / "there")
            assert list((tmp_path / "there").iterdir()) == []
            monkeypatch.chdir(tmp_path)  # this process's own, which the tasks do not share
            with pytest.raises(
                InputError, match=r"--out: must be on storage that all nodes share, but on .* no such file"
            ):
                require_shared(Path("/proc/self/cwd/there"))
            with pytest.raises(InputError, match="--out: cannot be written: "):
                require_shared(Path("/proc/nowhere"))
    finally:
        local.shutdown()


def test_a_wait_that_is_no_number_is_told(monkeypatch):
    monkeypatch.setenv("FLTAC_WAIT_S", "long")
    with pytest.raises(InputError, match="environment: FLTAC_WAIT_S: is a number of seconds"):
        gathered(lambda nodes: Need(1, 1, 0))
