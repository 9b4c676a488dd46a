"""Which processes an engine of a chaos run consists of, by their names. The kind is what stands before the number."""

from msgspec import Struct


class Topology(Struct, frozen=True):
    """`brokers` have connections among themselves where there are several. `caches`: `redis`, or none."""

    brokers: tuple[str, ...]
    services: tuple[str, ...]
    caches: tuple[str, ...] = ()

    @property
    def processes(self) -> tuple[str, ...]:
        """What is killed and stopped. `child` is any process that runs authors' code."""
        return (*self.services, "child", *self.brokers, *self.caches)

    @property
    def executors(self) -> tuple[str, ...]:
        return tuple(name for name in self.services if name.startswith("executor"))

    @property
    def gateways(self) -> tuple[str, ...]:
        return tuple(name for name in self.services if name.startswith("gateway"))

    @property
    def schedulers(self) -> tuple[str, ...]:
        return tuple(name for name in self.services if name.startswith("scheduler"))


ONE_NODE = Topology(
    brokers=("nats-server",),
    services=("executor-1", "executor-2", "gateway", "recorder", "scheduler-1", "scheduler-2"),
)
THREE_NODES = Topology(
    brokers=("nats-1", "nats-2", "nats-3"),
    services=(
        "executor-1",
        "executor-2",
        "executor-3",
        "gateway-1",
        "gateway-2",
        "recorder-1",
        "recorder-2",
        "scheduler-1",
        "scheduler-2",
    ),
    caches=("redis",),
)
TOPOLOGIES = {1: ONE_NODE, 3: THREE_NODES}
