"""Checks of the containers of our programs: settings, files, probes, ports, times, rights, images."""

import re

import project
from manifests import seconds

# What a command reads, if not what the program reads when it serves.
OF_COMMANDS = {"migrate": ("DATABASE_URL", "DATABASE_PASSWORD")}
# Not required where a URL contains the password.
PASSWORDS = ["DATABASE_PASSWORD", "AMQP_PASSWORD"]


def problems(overlay):
    """What is wrong with any of the containers."""
    for container in overlay.containers():
        for check in CHECKS:
            for problem in check(container):
                yield f"{container.name}: {problem}"


def settings(container):
    """Variables are settings of the program, secrets come from files, and nothing that is required is missing."""
    known = project.settings()
    program = project.PROGRAMS[container.program]
    for name, value in container.variables.items():
        setting = known.get(name.removesuffix("_FILE"))
        if setting is None or program not in setting.programs:
            yield f"{name} is no setting of {container.program}"
        elif name.endswith("_FILE") and not setting.is_secret:
            yield f"{name} is no setting: only secrets are read from files"
        elif setting.is_secret and not name.endswith("_FILE") and not is_url_without_password(value):
            yield f"{name} is a secret: set {name}_FILE"
    required = (
        OF_COMMANDS.get(container.command)
        or [name for name, setting in known.items() if setting.is_required and program in setting.programs] + PASSWORDS
    )
    for name in required:
        if not {name, f"{name}_FILE"} & set(container.variables):
            yield f"{name} is not set"


def is_url_without_password(value):
    """Whether it is the address of a server with the name of a user."""
    return re.fullmatch(r"(postgres|amqps?)://[^:@/]+@[^@?]+(\?(?!.*password=).*)?", value) is not None


def files(container):
    """The files that settings name are in the container, and come from Secrets that exist."""
    mounted = {path: (secret, key) for path, secret, key in container.files()}
    known = {name: set(keys) for name, keys in project.secrets().items()}
    # Made by the operator of Postgres.
    known["postgres-ca"] = {"ca.crt", "ca.key"}
    for path, (secret, key) in mounted.items():
        if key not in known.get(secret, ()):
            yield f"{path}: there is no Secret {secret} with the key {key}"
    named = {value for name, value in container.variables.items() if name.endswith("_FILE")}
    named |= set(re.findall(r"sslrootcert=([^&]+)", container.variables["DATABASE_URL"]))
    for path in sorted(named - set(mounted)):
        yield f"the file {path} is not mounted"
    for path in sorted(set(mounted) - named):
        yield f"the file {path} is mounted, and no setting names it"


def probes(container):
    """Probes ask paths and ports that the program serves, at an address that Kubernetes reaches."""
    ports = {port["name"]: port["containerPort"] for port in container.container.get("ports", [])}
    probing = [kind for kind in ("startupProbe", "livenessProbe", "readinessProbe") if kind in container.container]
    if container.command == "serve" and len(probing) < 3:
        yield f"it has only {', '.join(probing)}"
    for kind in probing:
        request = container.container[kind]["httpGet"]
        if request["path"] not in project.health_paths(container.program):
            yield f"{kind}: {container.program} does not serve {request['path']}"
        if kind != "readinessProbe" and request["path"] == "/health/ready":
            yield f"{kind}: an outage of RabbitMQ would restart the pod"
        if ports.get(request["port"]) != project.port(container.program):
            yield f"{kind}: {container.program} listens on port {project.port(container.program)}"
        if container.effective("HOST").startswith("127."):
            yield f"{kind}: {container.program} listens on the loopback address only: set HOST"
    if "metrics" in ports and not container.effective("METRICS_ADDR").endswith(f":{ports['metrics']}"):
        yield f"METRICS_ADDR is not the port {ports['metrics']}"


def times(container):
    """A pod is not killed before the program has ended."""
    if container.command != "serve":
        return
    shutdown, grace = (
        seconds(container.effective("SHUTDOWN_TIMEOUT")),
        container.spec.get("terminationGracePeriodSeconds", 30),
    )
    if grace <= shutdown:
        yield f"terminationGracePeriodSeconds ({grace}) is not longer than SHUTDOWN_TIMEOUT ({shutdown})"
    if container.program == "hamro-api" and not 0 < seconds(container.effective("DRAIN_DELAY")) <= shutdown / 2:
        yield "DRAIN_DELAY is not between 0 and half of SHUTDOWN_TIMEOUT"


def rights(container):
    """The program runs as the user of its image, and may do nothing beyond its work."""
    pod, security = container.spec.get("securityContext", {}), container.container.get("securityContext", {})
    expected = {
        "runAsNonRoot": (pod.get("runAsNonRoot"), True),
        "runAsUser": (pod.get("runAsUser"), project.image_user()),
        "fsGroup": (pod.get("fsGroup"), project.image_user()),
        "seccompProfile": (pod.get("seccompProfile"), {"type": "RuntimeDefault"}),
        "allowPrivilegeEscalation": (security.get("allowPrivilegeEscalation"), False),
        "readOnlyRootFilesystem": (security.get("readOnlyRootFilesystem"), True),
        "capabilities": (security.get("capabilities"), {"drop": ["ALL"]}),
        "automountServiceAccountToken": (container.spec.get("automountServiceAccountToken"), False),
        "enableServiceLinks": (container.spec.get("enableServiceLinks"), False),
    }
    for name, (is_set, should) in expected.items():
        if is_set != should:
            yield f"{name} should be {should}"
    if "memory" not in container.container.get("resources", {}).get("limits", {}):
        yield "it has no memory limit"


def images(container):
    """The image is of this version."""
    if container.tag != project.version():
        yield f"the image {container.image} has the tag {container.tag}, and the programs are version {project.version()}"


CHECKS = (settings, files, probes, times, rights, images)
