"""What a person might do wrong in the manifests of overlays/production, for check_test.py."""


def container(overlay, name):
    """The container of a Deployment."""
    return pod(overlay, name)["containers"][0]


def pod(overlay, name):
    """The pods of a Deployment."""
    return overlay.get("Deployment", name)["spec"]["template"]["spec"]


def sources(overlay, name):
    """The Secrets whose keys a Deployment mounts."""
    return pod(overlay, name)["volumes"][0]["projected"]["sources"]


def settings(overlay, program):
    """The settings of a program."""
    return next(thing["data"] for thing in overlay.all("ConfigMap") if thing["metadata"]["name"].startswith(program))


def trigger(overlay):
    """The first trigger of the workers' autoscaler."""
    return overlay.get("ScaledObject", "worker")["spec"]["triggers"][0]["metadata"]


def policy(overlay, name):
    """The specification of a network policy."""
    return overlay.get("NetworkPolicy", name)["spec"]


def without(overlay, kind, *names):
    """Removes objects."""
    for name in names:
        overlay.things.remove(overlay.get(kind, name))


# What a person might do, and a part of what the checks must say about it.
MISTAKES = {
    "a misspelt field of a Deployment": (
        lambda o: o.get("Deployment", "api")["spec"].update(minReadySecond=5),
        "minReadySecond",
    ),
    "a wrong type in a Deployment": (lambda o: pod(o, "api").update(terminationGracePeriodSeconds="45s"), "45s"),
    "a misspelt field of the autoscaler": (
        lambda o: o.get("ScaledObject", "worker")["spec"].update(maxReplicas=4),
        "maxReplicas",
    ),
    "a wrong type in the autoscaler": (lambda o: trigger(o).update(threshold=20000), "20000 is not of type 'string'"),
    "a misspelt field of RabbitMQ": (
        lambda o: o.get("RabbitmqCluster", "rabbitmq")["spec"].update(replica=3),
        "replica",
    ),
    "a misspelt field of Postgres": (
        lambda o: o.get("Cluster", "postgres")["spec"]["postgresql"]["synchronous"].update(methods="any"),
        "methods",
    ),
    "a wrong value for Postgres": (
        lambda o: o.get("Cluster", "postgres")["spec"]["postgresql"]["synchronous"].update(method="some"),
        "'some' is not one of",
    ),
    "a misspelt field of a monitor": (
        lambda o: o.get("PodMonitor", "programs")["spec"].update(joblabel="x"),
        "joblabel",
    ),
    "a misspelt field of the route": (
        lambda o: o.get("HTTPRoute", "api")["spec"]["rules"][0].update(timeout="0s"),
        "timeout",
    ),
    "a path that a rule of the Gateway API forbids": (
        lambda o: o.get("HTTPRoute", "api")["spec"]["rules"][0]["matches"][1]["path"].update(value="/assets//"),
        "must not contain '//'",
    ),
    "more workers at least than at most, which a rule of KEDA forbids": (
        lambda o: o.get("ScaledObject", "worker")["spec"].update(minReplicaCount=5),
        "must be less than or equal to maxReplicaCount",
    ),
    "no synchronous standby, which a rule of CloudNativePG forbids": (
        lambda o: o.get("Cluster", "postgres")["spec"]["postgresql"]["synchronous"].update(number=0),
        "should be greater than zero",
    ),
    "a misspelt field of the backups": (
        lambda o: o.get("ObjectStore", "backups")["spec"].update(retention="30d"),
        "retention",
    ),
    "a kind without a schema": (
        lambda o: o.things.append(
            {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x", "namespace": "hamro"}}
        ),
        "there is no schema",
    ),
    "an unknown setting": (
        lambda o: settings(o, "api").update(DRAIN_DELY="5s"),
        "DRAIN_DELY is no setting of hamro-api",
    ),
    "a setting of the other program": (
        lambda o: settings(o, "worker").update(DRAIN_DELAY="5s"),
        "DRAIN_DELAY is no setting of hamro-worker",
    ),
    "a file for what is no secret": (lambda o: settings(o, "api").update(DOCS_FILE="/etc/docs"), "only secrets"),
    "a secret among the settings": (lambda o: settings(o, "api").update(ADMIN_TOKEN="x"), "set ADMIN_TOKEN_FILE"),
    "a missing setting": (lambda o: settings(o, "api").pop("TICKET_KEYS_FILE"), "TICKET_KEYS is not set"),
    "a file that is not mounted": (
        lambda o: settings(o, "api").update(LOG_KEY_FILE="/etc/log-key"),
        "/etc/log-key is not mounted",
    ),
    "a key that the Secret does not have": (
        lambda o: sources(o, "api")[0]["secret"]["items"][0].update(key="ticket-key"),
        "no Secret hamro with the key ticket-key",
    ),
    "a Secret that does not exist": (
        lambda o: sources(o, "api")[1]["secret"].update(name="postgres"),
        "no Secret postgres",
    ),
    "a secret that the worker does not need": (
        lambda o: sources(o, "worker")[0]["secret"]["items"].append({"key": "ticket-keys", "path": "ticket-keys"}),
        "no setting names it",
    ),
    "a password in a URL": (
        lambda o: settings(o, "api").update(AMQP_URL="amqp://hamro:hunter2@rabbitmq/%2f"),
        "AMQP_URL is a secret",
    ),
    "a missing password": (lambda o: settings(o, "worker").pop("AMQP_PASSWORD_FILE"), "AMQP_PASSWORD is not set"),
    "a node of RabbitMQ that the programs do not know": (
        lambda o: o.get("RabbitmqCluster", "rabbitmq")["spec"].update(replicas=5),
        "rabbitmq-server-4",
    ),
    "a database of another installation": (
        lambda o: settings(o, "worker").update(DATABASE_URL="postgres://hamro_app@elsewhere:5432/hamro"),
        "DATABASE_URL should be",
    ),
    "another owner of the database": (
        lambda o: o.get("Cluster", "postgres")["spec"]["bootstrap"]["initdb"].update(owner="hamro"),
        "another owner",
    ),
    "a probe of a path that is not served": (
        lambda o: container(o, "api")["readinessProbe"]["httpGet"].update(path="/ready"),
        "does not serve /ready",
    ),
    "a liveness probe that depends on RabbitMQ": (
        lambda o: container(o, "api")["livenessProbe"]["httpGet"].update(path="/health/ready"),
        "would restart the pod",
    ),
    "a probe of a wrong port": (
        lambda o: container(o, "api")["ports"][0].update(containerPort=8080),
        "listens on port 3000",
    ),
    "a missing probe": (lambda o: container(o, "worker").pop("startupProbe"), "has only livenessProbe, readinessProbe"),
    "a worker that listens on the loopback address": (lambda o: settings(o, "worker").pop("HOST"), "loopback"),
    "metrics on another port": (
        lambda o: settings(o, "api").update(METRICS_ADDR="0.0.0.0:9465"),
        "METRICS_ADDR is not",
    ),
    "a pod that is killed too early": (lambda o: pod(o, "api").pop("terminationGracePeriodSeconds"), "is not longer"),
    "no time to drain": (lambda o: settings(o, "api").update(DRAIN_DELAY="0s"), "DRAIN_DELAY"),
    "another user than the image's": (
        lambda o: pod(o, "worker")["securityContext"].update(runAsUser=1000),
        "runAsUser should be 10001",
    ),
    "a writable root": (
        lambda o: container(o, "api")["securityContext"].pop("readOnlyRootFilesystem"),
        "readOnlyRootFilesystem",
    ),
    "a token of the API server": (
        lambda o: pod(o, "api").pop("automountServiceAccountToken"),
        "automountServiceAccountToken",
    ),
    "an image without a version": (lambda o: container(o, "api").update(image="registry/hamro-api"), "has the tag"),
    "an object that no step of an upgrade applies": (
        lambda o: o.get("NetworkPolicy", "programs")["metadata"].pop("labels"),
        "by which upgrades select objects",
    ),
    "an object in no namespace": (
        lambda o: o.get("ScaledObject", "worker")["metadata"].pop("namespace"),
        "is in no namespace",
    ),
    "a Service that selects nothing": (
        lambda o: o.get("Service", "api")["spec"].update(selector={"app": "api"}),
        "selects no pods",
    ),
    "a budget that selects nothing": (
        lambda o: o.get("PodDisruptionBudget", "worker")["spec"]["selector"]["matchLabels"].update(x="y"),
        "PodDisruptionBudget worker selects no pods",
    ),
    "a monitor of a port that does not exist": (
        lambda o: o.get("PodMonitor", "programs")["spec"]["podMetricsEndpoints"][0].update(port="metric"),
        "has no port metric",
    ),
    "an autoscaler of nothing": (
        lambda o: o.get("ScaledObject", "worker")["spec"]["scaleTargetRef"].update(name="workers"),
        "no Deployment workers",
    ),
    "a route to a wrong port": (
        lambda o: o.get("HTTPRoute", "api")["spec"]["rules"][0]["backendRefs"][0].update(port=3000),
        "has no port 3000",
    ),
    "a route that misses an endpoint": (
        lambda o: o.get("HTTPRoute", "api")["spec"]["rules"][0]["matches"].pop(5),
        "does not publish /concerts",
    ),
    "a route that publishes everything": (
        lambda o: o.get("HTTPRoute", "api")["spec"]["rules"][0].update(
            matches=[{"path": {"type": "PathPrefix", "value": "/"}}]
        ),
        "publishes /ops",
    ),
    "a metric that does not exist": (
        lambda o: trigger(o).update(query='max(hamro_queue_booking{namespace="hamro"})'),
        "there is no metric hamro_queue_booking",
    ),
    "a query that is no PromQL": (
        lambda o: trigger(o).update(query='max(hamro_queue_bookings{namespace="hamro"}'),
        "Prometheus does not understand",
    ),
    "a sum over instances": (
        lambda o: trigger(o).update(query='sum(hamro_queue_bookings{namespace="hamro"})'),
        "needs max()",
    ),
    "a query of all installations": (
        lambda o: trigger(o).update(query="max(hamro_queue_bookings)"),
        "not limited to its namespace",
    ),
    "a monitor without the names of the jobs": (
        lambda o: o.get("PodMonitor", "programs")["spec"].pop("jobLabel"),
        "query job api",
    ),
    "a startup probe that RabbitMQ does not answer": (
        lambda o: o.get("RabbitmqCluster", "rabbitmq")["metadata"].pop("annotations"),
        "never becomes ready",
    ),
    "another setting of RabbitMQ": (
        lambda o: o.get("RabbitmqCluster", "rabbitmq")["spec"]["rabbitmq"].update(additionalConfig="net_ticktime = 60"),
        "net_ticktime is 60",
    ),
    "another version of RabbitMQ": (
        lambda o: o.get("RabbitmqCluster", "rabbitmq")["spec"].update(image="rabbitmq:3.8"),
        "rabbitmq:3.8",
    ),
    "another version of PostgreSQL": (
        lambda o: o.get("Cluster", "postgres")["spec"].update(imageName="ghcr.io/cloudnative-pg/postgresql:14.1"),
        "PostgreSQL 14.1",
    ),
    "another parameter of Postgres": (
        lambda o: o.get("Cluster", "postgres")["spec"]["postgresql"]["parameters"].update(jit="on"),
        "jit is on",
    ),
    "two instances of Postgres": (
        lambda o: o.get("Cluster", "postgres")["spec"].update(instances=2),
        "the loss of a standby stops all commits",
    ),
    "more sessions than Postgres has": (lambda o: settings(o, "api").update(DATABASE_CONNECTIONS="50"), "may open"),
    "more workers than the database carries": (
        lambda o: o.get("ScaledObject", "worker")["spec"].update(maxReplicaCount=20),
        "transactions at once",
    ),
    "a single worker": (
        lambda o: o.get("ScaledObject", "worker")["spec"].update(minReplicaCount=1),
        "its loss delays bookings",
    ),
    "no policy for the programs": (
        lambda o: without(o, "NetworkPolicy", "programs"),
        "refuse connections from api to port 5432 of postgres",
    ),
    "no names": (lambda o: without(o, "NetworkPolicy", "dns"), "to port 53 of kube-system"),
    "no denial by default": (
        lambda o: without(o, "NetworkPolicy", "default-deny", "metrics"),
        "allow connections from elsewhere to port 3000 of worker",
    ),
    "a database that everybody reaches": (
        lambda o: policy(o, "postgres")["ingress"].append({}),
        "allow connections from elsewhere to port 5432",
    ),
    "no metrics of the workers": (
        lambda o: policy(o, "metrics")["ingress"][0]["ports"].pop(0),
        "from monitoring to port 9464 of api",
    ),
    "a gateway without a way to the api": (
        lambda o: policy(o, "gateway")["ingress"][0]["ports"][0].update(port=80),
        "to port 3000 of api",
    ),
    "nodes of RabbitMQ that do not reach each other": (
        lambda o: policy(o, "rabbitmq")["ingress"].pop(),
        "from rabbitmq to port 25672",
    ),
}
