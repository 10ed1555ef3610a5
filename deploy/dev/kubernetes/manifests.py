"""The objects of an overlay, as kustomize has built them."""

import re

import yaml

import project

WORKLOADS = ("Deployment", "Job")
# The pods that operators start, as far as policies, monitors and budgets select them.
OF_OPERATORS = {
    "rabbitmq": (
        {"app.kubernetes.io/name": "rabbitmq", "app.kubernetes.io/component": "rabbitmq"},
        {"amqp": 5672, "prometheus": 15692},
    ),
    "postgres": ({"cnpg.io/cluster": "postgres"}, {"postgresql": 5432, "metrics": 9187, "status": 8000}),
}


class Pod:
    """What a workload's template, or an operator, says about pods."""

    def __init__(self, name, labels, ports, spec=None):
        self.name, self.labels, self.ports, self.spec = name, labels, ports, spec


class Container:
    """The container of one of our programs."""

    def __init__(self, workload, overlay):
        self.workload = workload
        self.spec = workload["spec"]["template"]["spec"]
        [self.container] = self.spec["containers"]
        self.image, _, self.tag = self.container["image"].partition(":")
        self.program = self.image.rpartition("/")[2]
        self.command = (self.container.get("args") or ["serve"])[0]
        self.variables = {}
        for source in self.container.get("envFrom", []):
            self.variables |= overlay.get("ConfigMap", source["configMapRef"]["name"])["data"]
        self.variables |= {variable["name"]: variable["value"] for variable in self.container.get("env", [])}

    @property
    def name(self):
        """Of the workload, for messages."""
        return f"{self.workload['kind']} {self.workload['metadata']['name']}"

    def effective(self, name):
        """The value of a setting: of the manifest, of the image, or the default."""
        return (
            self.variables.get(name)
            or project.image_environment(self.program).get(name)
            or project.settings()[name].default
        )

    def files(self):
        """The files that volumes put into the container: path, Secret, key."""
        for mount in self.container.get("volumeMounts", []):
            for secret, items in self.secrets(mount["name"]):
                for item in items:
                    yield f"{mount['mountPath']}/{item['path']}", secret, item["key"]

    def secrets(self, volume):
        """The Secrets of a volume, with the items that it takes from each."""
        [volume] = [other for other in self.spec.get("volumes", []) if other["name"] == volume]
        if "secret" in volume:
            yield volume["secret"]["secretName"], volume["secret"]["items"]
        for source in volume.get("projected", {}).get("sources", []):
            yield source["secret"]["name"], source["secret"]["items"]


class Overlay:
    """All objects of an overlay."""

    def __init__(self, name, text):
        self.name = name
        self.things = list(yaml.safe_load_all(text))

    def all(self, kind):
        """All objects of a kind."""
        return [thing for thing in self.things if thing["kind"] == kind]

    def find(self, kind, name):
        """The object, or None."""
        return next((thing for thing in self.all(kind) if thing["metadata"]["name"] == name), None)

    def get(self, kind, name):
        """The object, which must exist."""
        thing = self.find(kind, name)
        if thing is None:
            raise KeyError(f"there is no {kind} {name}")
        return thing

    def containers(self):
        """The containers of our programs."""
        return [Container(thing, self) for kind in WORKLOADS for thing in self.all(kind)]

    def pods(self):
        """All kinds of pods in the namespace."""
        pods = []
        for kind in WORKLOADS:
            for thing in self.all(kind):
                template = thing["spec"]["template"]
                ports = {
                    port["name"]: port["containerPort"] for port in template["spec"]["containers"][0].get("ports", [])
                }
                pods.append(Pod(thing["metadata"]["name"], template["metadata"]["labels"], ports, template["spec"]))
        return pods + [Pod(name, labels, ports) for name, (labels, ports) in OF_OPERATORS.items()]

    def maximum_replicas(self, deployment):
        """How many pods of a Deployment run at most, without those of a rolling update."""
        for thing in self.all("HorizontalPodAutoscaler") + self.all("ScaledObject"):
            if thing["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]:
                return thing["spec"].get("maxReplicas") or thing["spec"]["maxReplicaCount"]
        return deployment["spec"].get("replicas", 1)


def selects(selector, labels):
    """Whether a label selector matches. An empty one matches everything."""
    for expression in selector.get("matchExpressions", []):
        if expression["operator"] != "In":
            raise NotImplementedError(expression["operator"])
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def seconds(text):
    """A duration of the programs, such as 30s."""
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]


def processors(text):
    """A quantity of processors, such as 500m."""
    return int(text[:-1]) / 1000 if text.endswith("m") else float(text)
