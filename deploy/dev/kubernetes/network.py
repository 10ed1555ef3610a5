"""Which connections the network policies allow, and whether they are those that the installation needs."""

from dataclasses import dataclass

from manifests import selects

NAMESPACE = "hamro"


@dataclass(frozen=True)
class End:
    """One end of a connection: a pod, or all pods of another namespace."""

    name: str
    namespace: str
    labels: dict


def problems(overlay):
    """Needed connections that are refused, and others that are allowed."""
    pods = {pod.name: End(pod.name, NAMESPACE, pod.labels) for pod in overlay.pods()}
    policies = overlay.all("NetworkPolicy")
    for source, target, port, needed in expectations(overlay):
        source = pods.get(source) or End(source, source, {})
        target = pods.get(target) or End(target, target, {})
        if is_allowed(policies, source, target, port) != needed:
            verb = "refuse" if needed else "allow"
            yield f"the network policies {verb} connections from {source.name} to port {port} of {target.name}"


def expectations(overlay):
    """Connections (source, target, port), and whether they must be allowed. Names that are no pods are namespaces."""
    programs = [container.workload["metadata"]["name"] for container in overlay.containers()]
    for program in programs:
        yield program, "postgres", 5432, True
        yield program, "rabbitmq", 5672, program != "migration"
        yield program, "rabbitmq", 15672, program == "api"
        yield program, "kube-system", 53, True
        yield program, "elsewhere", 443, False
        yield "elsewhere", program, 3000, False
    for server in ("rabbitmq", "postgres"):
        yield server, "kube-system", 53, True
        yield server, "api-server", 443, True
    for port in (4369, 25672, 35673):
        yield "rabbitmq", "rabbitmq", port, True
    for port in (5432, 8000):
        yield "postgres", "postgres", port, True
        yield "cnpg-system", "postgres", port, True
    yield "elsewhere", "postgres", 5432, False
    yield "elsewhere", "rabbitmq", 5672, False
    yield "elsewhere", "rabbitmq", 15672, False
    yield "api", "worker", 3001, False
    if overlay.all("PodMonitor"):
        for target, port in (("api", 9464), ("worker", 9464), ("rabbitmq", 15692), ("postgres", 9187)):
            yield "monitoring", target, port, True
            yield "elsewhere", target, port, False
        yield "api", "monitoring", 4318, True
        yield "worker", "monitoring", 4318, True
    if overlay.all("Gateway"):
        # Installations change this namespace.
        [rule] = overlay.get("NetworkPolicy", "gateway")["spec"]["ingress"]
        gateway = rule["from"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        yield gateway, "api", 3000, True
        yield gateway, "api", 9464, False
        yield gateway, "postgres", 5432, False


def is_allowed(policies, source, target, port):
    """Whether a connection is allowed: by the policies of both ends, each only if it is in our namespace."""
    return side_allows(policies, "Egress", source, target, port) and side_allows(
        policies, "Ingress", target, source, port
    )


def side_allows(policies, direction, pod, other, port):
    """Whether the policies of a pod allow a connection in this direction. Without a policy, everything is allowed."""
    if pod.namespace != NAMESPACE:
        return True
    selecting = [
        policy["spec"]
        for policy in policies
        if direction in policy["spec"]["policyTypes"] and selects(policy["spec"]["podSelector"], pod.labels)
    ]
    rules = [rule for spec in selecting for rule in spec.get(direction.lower(), [])]
    return not selecting or any(rule_allows(rule, direction, other, port) for rule in rules)


def rule_allows(rule, direction, other, port):
    """Whether a rule names the other end and the port."""
    peers = rule.get("from" if direction == "Ingress" else "to")
    ports = rule.get("ports")
    is_port = ports is None or any(entry["port"] <= port <= entry.get("endPort", entry["port"]) for entry in ports)
    return is_port and (peers is None or any(is_peer(peer, other) for peer in peers))


def is_peer(peer, end):
    """Whether a peer of a rule is this end. Blocks of addresses are never: they stand for what is no pod."""
    if "ipBlock" in peer:
        return False
    if "namespaceSelector" not in peer:
        return end.namespace == NAMESPACE and selects(peer["podSelector"], end.labels)
    namespace = {"kubernetes.io/metadata.name": end.namespace}
    return selects(peer["namespaceSelector"], namespace) and selects(peer.get("podSelector", {}), end.labels)
