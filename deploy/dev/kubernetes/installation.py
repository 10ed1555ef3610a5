"""Checks of how the objects of an overlay fit together, and fit the servers of docker-compose.yml."""

import json
import re
import subprocess
from functools import cache
from tempfile import NamedTemporaryFile

import project
from manifests import processors, selects


def problems(overlay):
    """What does not fit."""
    for check in CHECKS:
        yield from check(overlay)


def namespaces(overlay):
    """All objects are in the namespace of the installation, and in one of the steps of an upgrade (docs/KUBERNETES.md).

    A component does not get the namespace of the base.
    """
    [namespace] = overlay.all("Namespace")
    for thing in overlay.things:
        if "app.kubernetes.io/component" not in thing["metadata"].get("labels", {}):
            yield f"{label(thing)} has no label app.kubernetes.io/component, by which upgrades select objects"
        if thing is not namespace and thing["metadata"].get("namespace") != namespace["metadata"]["name"]:
            yield f"{label(thing)} is in no namespace, or another"


def selectors(overlay):
    """Every selector matches pods, and every named port is one of theirs."""
    pods = overlay.pods()
    for thing in overlay.all("Deployment"):
        if not selects(thing["spec"]["selector"], thing["spec"]["template"]["metadata"]["labels"]):
            yield f"{label(thing)} does not select its own pods"
    for kind in ("Service", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor"):
        for thing in overlay.all(kind):
            selected = [pod for pod in pods if selects(selector_of(thing), pod.labels)]
            if not selected:
                yield f"{label(thing)} selects no pods"
            for port in named_ports(thing):
                yield from (
                    f"{label(thing)}: {pod.name} has no port {port}" for pod in selected if port not in pod.ports
                )


def selector_of(thing):
    """The label selector of an object that selects pods."""
    spec = thing["spec"]
    if thing["kind"] == "Service":
        return {"matchLabels": spec["selector"]}
    return spec.get("selector") or spec["podSelector"]


def named_ports(thing):
    """The ports of pods that an object names."""
    if thing["kind"] == "Service":
        return [port["targetPort"] for port in thing["spec"]["ports"]]
    return [endpoint["port"] for endpoint in thing["spec"].get("podMetricsEndpoints", [])]


def targets(overlay):
    """Autoscalers, routes and backups name objects that exist."""
    references = [
        (thing, thing["spec"]["scaleTargetRef"].get("kind", "Deployment"), thing["spec"]["scaleTargetRef"]["name"])
        for kind in ("HorizontalPodAutoscaler", "ScaledObject")
        for thing in overlay.all(kind)
    ]
    references += [(thing, "Cluster", thing["spec"]["cluster"]["name"]) for thing in overlay.all("ScheduledBackup")]
    for cluster in overlay.all("Cluster"):
        for plugin in cluster["spec"].get("plugins", []):
            references.append((cluster, "ObjectStore", plugin["parameters"]["barmanObjectName"]))
    for route in overlay.all("HTTPRoute"):
        references += [(route, "Gateway", parent["name"]) for parent in route["spec"]["parentRefs"]]
        for backend in (backend for rule in route["spec"]["rules"] for backend in rule["backendRefs"]):
            references.append((route, "Service", backend["name"]))
            service = overlay.find("Service", backend["name"])
            if service and backend["port"] not in [port["port"] for port in service["spec"]["ports"]]:
                yield f"{label(route)}: the Service {backend['name']} has no port {backend['port']}"
    yield from (
        f"{label(thing)}: there is no {kind} {name}" for thing, kind, name in references if not overlay.find(kind, name)
    )


def published_paths(overlay):
    """The route publishes what buyers use, and nothing of operators."""
    private = ("/ops", "/ops/state", "/metrics", "/health/live", "/health/ready", "//ops", "/opsx")
    for route in overlay.all("HTTPRoute"):
        matches = [match["path"] for rule in route["spec"]["rules"] for match in rule["matches"]]
        for path in project.public_paths():
            if not path.startswith("/health/") and not any(matches_path(match, path) for match in matches):
                yield f"{label(route)} does not publish {path}"
        for path in private:
            if any(matches_path(match, path) for match in matches):
                yield f"{label(route)} publishes {path}"


def matches_path(match, path):
    """Whether a match of a route includes a path. A prefix ends with a whole element of the path."""
    prefix = match["value"].rstrip("/")
    is_below = match["type"] == "PathPrefix" and path.startswith(f"{prefix}/")
    return path == match["value"] or is_below


def queries(overlay):
    """The autoscaler asks for metrics that the programs export, in its own namespace."""
    for scaled in overlay.all("ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            query = trigger["metadata"]["query"]
            for metric in re.findall(r"\b(?:hamro|process)_[a-z_]+", query):
                if metric not in project.metrics():
                    yield f"{label(scaled)}: there is no metric {metric}"
                elif metric.startswith("hamro_queue_") and f"max({metric}" not in query:
                    yield f"{label(scaled)}: every instance exports the whole {metric}, so it needs max()"
            if f'namespace="{scaled["metadata"].get("namespace")}"' not in query:
                yield f"{label(scaled)}: {query} is not limited to its namespace"


def syntax_of_queries(overlay):
    """Prometheus understands the queries: promtool reads them as recording rules."""
    for scaled in overlay.all("ScaledObject"):
        for query in (trigger["metadata"]["query"] for trigger in scaled["spec"]["triggers"]):
            if errors := syntax_errors(query):
                yield f"{label(scaled)}: Prometheus does not understand {query}: {errors}"


@cache
def syntax_errors(query):
    """What promtool says against a query."""
    with NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"groups": [{"name": "queries", "rules": [{"record": "query", "expr": query}]}]}, file)
        file.flush()
        result = subprocess.run(["promtool", "check", "rules", file.name], capture_output=True, text=True, check=False)
    return result.stderr.strip() if result.returncode != 0 else ""


def job_names(overlay):
    """The alert rules find the programs under the names of their jobs."""
    rules = "".join(str(thing["spec"]) for thing in overlay.all("PrometheusRule"))
    jobs = {job for jobs in re.findall(r'job=~?"([a-z|]+)"', rules) for job in jobs.split("|")}
    monitored = set()
    for monitor in overlay.all("PodMonitor"):
        pods = [pod for pod in overlay.pods() if selects(monitor["spec"]["selector"], pod.labels)]
        monitored |= {pod.labels.get(monitor["spec"].get("jobLabel")) for pod in pods}
    yield from (f"the alert rules query job {job}, which no PodMonitor makes" for job in sorted(jobs - monitored))


def servers(overlay):
    """RabbitMQ and Postgres have the versions and the settings of docker-compose.yml."""
    rabbitmq, postgres = overlay.get("RabbitmqCluster", "rabbitmq"), overlay.get("Cluster", "postgres")
    services = project.compose()["services"]
    if rabbitmq["spec"]["image"] != services["rabbitmq"]["image"]:
        yield f"{label(rabbitmq)} has {rabbitmq['spec']['image']}, docker-compose.yml {services['rabbitmq']['image']}"
    version = tuple(int(number) for number in re.findall(r"\d+", rabbitmq["spec"]["image"].partition(":")[2]))
    if version < (4, 2, 4) and "rabbitmq.com/legacy-startup-probe" not in rabbitmq["metadata"].get("annotations", {}):
        yield f"{label(rabbitmq)} never becomes ready: before 4.2.4 it needs the annotation legacy-startup-probe"
    settings = project.configuration(rabbitmq["spec"]["rabbitmq"]["additionalConfig"])
    for name, value in project.rabbitmq_settings(rabbitmq["spec"]["replicas"] > 1).items():
        if settings.get(name) != value:
            yield f"{label(rabbitmq)}: {name} is {settings.get(name)}, with Docker Compose {value}"
    [ours] = re.findall(r":([\d.]+)", postgres["spec"]["imageName"])
    [theirs] = re.findall(r":([\d.]+)", services["postgres"]["image"])
    if ours != theirs:
        yield f"{label(postgres)} has PostgreSQL {ours}, docker-compose.yml {theirs}"
    parameters = postgres["spec"]["postgresql"]["parameters"]
    for name, value in project.postgres_parameters().items():
        if name != "shared_preload_libraries" and parameters.get(name) != value:
            yield f"{label(postgres)}: {name} is {parameters.get(name)}, in docker-compose.yml {value}"
    if "synchronous" in postgres["spec"]["postgresql"] and postgres["spec"]["instances"] < 3:
        yield f"{label(postgres)}: with fewer than three instances, the loss of a standby stops all commits"


def addresses(overlay):
    """The programs connect to the servers of this installation, as their users."""
    rabbitmq, postgres = overlay.get("RabbitmqCluster", "rabbitmq"), overlay.get("Cluster", "postgres")
    name, nodes = rabbitmq["metadata"]["name"], range(rabbitmq["spec"]["replicas"])
    hosts = ",".join(f"{name}-server-{node}.{name}-nodes:5672" for node in nodes)
    database = postgres["spec"]["bootstrap"]["initdb"]
    secrets = project.secrets()
    # The authority is that of the operator, so the connection can be verified.
    expected = {
        "AMQP_URL": f"amqp://{secrets['rabbitmq-user']['username']}@{hosts}/%2f",
        "DATABASE_URL": f"postgres://{database['owner']}@{postgres['metadata']['name']}-rw:5432/{database['database']}"
        "?sslmode=verify-full&sslrootcert=/etc/hamro/postgres-ca/ca.crt",
    }
    for container in overlay.containers():
        for setting, url in expected.items():
            if container.variables.get(setting, url) != url:
                yield f"{container.name}: {setting} should be {url}"
    if secrets[database["secret"]["name"]]["username"] != database["owner"]:
        yield f"secrets.sh names another owner of the database than {label(postgres)}"
    if rabbitmq["spec"]["secretBackend"]["externalSecret"]["name"] not in secrets:
        yield f"secrets.sh does not make the user of {label(rabbitmq)}"


def sessions(overlay):
    """Postgres has enough sessions for all pods, also during a rolling update, and processors for the workers."""
    postgres = overlay.get("Cluster", "postgres")["spec"]
    needed = 0
    for container in (container for container in overlay.containers() if container.command == "serve"):
        # docs/RUNBOOK.md, "PgBouncer".
        each = int(container.effective("DATABASE_CONNECTIONS")) + 2 if container.program == "hamro-api" else 5
        surge = container.workload["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
        needed += each * (overlay.maximum_replicas(container.workload) + surge)
    # Of superusers, the operator and its metrics, the migration and commands.
    available = int(postgres["postgresql"]["parameters"]["max_connections"]) - 20
    if needed > available:
        yield f"the programs may open {needed} sessions, and Postgres has {available} for them"
    for scaled in overlay.all("ScaledObject"):
        if scaled["spec"]["minReplicaCount"] < 2:
            yield f"{label(scaled)}: with one worker, its loss delays bookings"
        cores = processors(postgres["resources"]["requests"]["cpu"])
        if 2 * scaled["spec"]["maxReplicaCount"] > cores:
            yield f"{label(scaled)}: each worker has two transactions at once, and Postgres has {cores:g} processors"


def label(thing):
    """Names an object in a message."""
    return f"{thing['kind']} {thing['metadata']['name']}"


CHECKS = (
    namespaces,
    selectors,
    targets,
    published_paths,
    queries,
    syntax_of_queries,
    job_names,
    servers,
    addresses,
    sessions,
)
