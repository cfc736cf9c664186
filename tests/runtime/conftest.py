import pytest


@pytest.fixture(scope="session")
def ray_address():
    """A local Ray cluster of eight CPU slots, named as a user would name one; ends with the session."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 8, "include_dashboard": False})
    yield cluster.address
    cluster.shutdown()
