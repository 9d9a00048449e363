"""What a resource's attributes say: who a process is and where it runs.

The two chains and their order are the product's (``docs/decisions/0003-identity.md``); the attributes are
those of the OpenTelemetry semantic conventions for host, Kubernetes and process resources.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from detector.types import NodeId

if TYPE_CHECKING:
    from collections.abc import Mapping

PID: Final = b"process.pid"
PARENT_PID: Final = b"process.parent_pid"
NAME: Final = b"process.executable.name"
PATH: Final = b"process.executable.path"
OWNER: Final = b"process.owner"
COMMAND_LINE: Final = b"process.command_line"
CGROUP: Final = b"process.cgroup"
HOST: Final = b"host.name"
NODE_CHAIN: Final = (b"k8s.node.name", HOST, b"host.id")
CLUSTER_CHAIN: Final = (b"k8s.cluster.name", b"cluster_name", b"k8s.cluster.uid")
UNKNOWN_CLUSTER: Final = "unknown"

TEXT_LIMIT: Final = 4096
"""Characters of a text attribute that are kept: PATH_MAX, so that no real path is cut."""


LABEL_LIMIT: Final = 256
"""Characters of a label: Kubernetes allows 253 in a name, and an image's is shortened in an event."""
LABELS: Final = "k8s.*"
"""How they are counted together: their names are the sender's."""
_MAX_LABELS: Final = 24
_LABEL_PREFIXES: Final = (b"k8s.", b"container.")
_NO_LABELS: Final = frozenset((*NODE_CHAIN, *CLUSTER_CHAIN))


def attributes_of(resource: Any) -> dict[bytes, Any]:  # noqa: ANN401  # its class is made at run time
    """The attributes of a ``Resource``: of equal keys the last in wire order wins."""
    return {attribute.key: attribute.value for attribute in resource.attributes}


def string_of(value: Any) -> bytes:  # noqa: ANN401  # an AnyValue
    """The text of an ``AnyValue``; empty if it is of another type or ``None``."""
    return value.string_value if value is not None else b""


def int_of(value: Any) -> int | None:  # noqa: ANN401
    """The integer of an ``AnyValue``; ``None`` if it is of another type or ``None``."""
    return value.int_value if value is not None and value.HasField("int_value") else None


def text_of(raw: bytes) -> tuple[str, bool]:
    r"""Text of bytes, and whether some of them are not UTF-8 and therefore written as ``\xNN``."""
    try:
        return raw.decode(), False
    except UnicodeDecodeError:
        return raw.decode(errors="backslashreplace"), True


def bounded_text(attributes: Mapping[bytes, Any], key: bytes, replaced: set[str]) -> str:
    """The text of an attribute, cut to :data:`TEXT_LIMIT`. Its key joins ``replaced`` if it is not UTF-8."""
    text, repaired = text_of(string_of(attributes.get(key)))
    if repaired:
        replaced.add(key.decode())
    return text[:TEXT_LIMIT]


def labels_of(attributes: Mapping[bytes, Any], replaced: set[str]) -> tuple[tuple[str, str], ...]:
    """What ``k8sattributes`` adds: names of the pod, its workload, its containers and images; in order.

    :data:`LABELS` joins ``replaced`` if one of them is not UTF-8. Source: the collector's
    ``processor/k8sattributesprocessor/metadata.yaml``.
    """
    found: list[tuple[str, str]] = []
    for key in sorted(attributes):
        if not key.startswith(_LABEL_PREFIXES) or key in _NO_LABELS or len(key) > LABEL_LIMIT:
            continue
        name, odd_name = text_of(key)
        value, odd_value = text_of(string_of(attributes[key]))
        if odd_name or odd_value:
            replaced.add(LABELS)
        if value:
            found.append((name, value[:LABEL_LIMIT]))
    return tuple(found[:_MAX_LABELS])


def deciding_key(attributes: Mapping[bytes, Any], chain: tuple[bytes, ...]) -> bytes:
    """The first key of a chain whose text is not empty; empty if there is none."""
    return next((key for key in chain if string_of(attributes.get(key))), b"")


def node_of(attributes: Mapping[bytes, Any], cluster_name: str, replaced: set[str]) -> NodeId | None:
    """The node that a resource names, ``None`` if it names none.

    ``cluster_name`` is the cluster of resources that name none; if it is empty too, :data:`UNKNOWN_CLUSTER`.
    """
    node_key = deciding_key(attributes, NODE_CHAIN)
    if not node_key:
        return None
    cluster_key = deciding_key(attributes, CLUSTER_CHAIN)
    cluster = bounded_text(attributes, cluster_key, replaced) if cluster_key else cluster_name
    return NodeId(cluster or UNKNOWN_CLUSTER, bounded_text(attributes, node_key, replaced))
