"""The dynamic API of Python's client, which reads the older discovery documents."""

import sys
import tempfile

from kubernetes import client, config
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError, UnprocessibleEntityError

NAMESPACE = "python-dynamic"


def every_kind(dynamic):
    """Each kind that discovery tells of can be found, and listed if it is said to be."""
    found = 0
    for resource in dynamic.resources.search():
        # What is a list of others is told of beside them, with nothing of its own.
        if resource.kind.endswith("List") or "list" not in (resource.verbs or []):
            continue
        answer = resource.get(limit=1)
        assert answer.kind == f"{resource.kind}List", (resource, answer)
        found += 1
    assert found > 30, found


def objects(dynamic):
    configmaps = dynamic.resources.get(api_version="v1", kind="ConfigMap")
    body = {"metadata": {"name": "a", "labels": {"tier": "front"}}, "data": {"k": "v"}}
    made = configmaps.create(body=body, namespace=NAMESPACE)
    assert made.data.k == "v" and made.kind == "ConfigMap", made
    patch = {"metadata": {"name": "a"}, "data": {"k": "w"}}
    merged = configmaps.patch(
        body=patch, namespace=NAMESPACE, content_type="application/merge-patch+json"
    )
    assert merged.data.k == "w", merged
    refused(ConflictError, configmaps.replace, body=made.to_dict(), namespace=NAMESPACE)
    wrong = {"metadata": {"name": "b"}, "data": {"not a key!": "v"}}
    invalid = refused(UnprocessibleEntityError, configmaps.create, body=wrong, namespace=NAMESPACE)
    assert "data[not a key!]" in invalid.summary(), invalid.summary()

    applied = configmaps.server_side_apply(
        body={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"k": "1"}},
        namespace=NAMESPACE,
        field_manager="python",
    )
    assert applied.metadata.managedFields[0].manager == "python", applied

    since = configmaps.get(namespace=NAMESPACE).metadata.resourceVersion
    configmaps.delete(name="a", namespace=NAMESPACE)
    for event in configmaps.watch(namespace=NAMESPACE, resource_version=since, timeout=30):
        assert (event["type"], event["object"].metadata.name) == ("DELETED", "a"), event
        break
    refused(NotFoundError, configmaps.get, name="a", namespace=NAMESPACE)


def parts(dynamic):
    """Subresources, as discovery tells of them."""
    deployments = dynamic.resources.get(api_version="apps/v1", kind="Deployment")
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "trireme.local/hello:1"}]},
    }
    spec = {"paused": True, "replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    deployments.create(body={"metadata": {"name": "web"}, "spec": spec}, namespace=NAMESPACE)
    scale = deployments.scale.get(name="web", namespace=NAMESPACE)
    assert scale.spec.replicas == 2, scale
    deployments.delete(name="web", namespace=NAMESPACE)


def refused(error, call, **options):
    """The error that a call must end with."""
    try:
        call(**options)
    except error as refusal:
        return refusal
    raise AssertionError(f"{options} should have been refused")


def main():
    config.load_kube_config(sys.argv[1])
    with tempfile.TemporaryDirectory() as cache:
        dynamic = DynamicClient(client.ApiClient(), cache_file=f"{cache}/discovery.json")
        namespaces = dynamic.resources.get(api_version="v1", kind="Namespace")
        namespaces.create(body={"metadata": {"name": NAMESPACE}})
        every_kind(dynamic)
        objects(dynamic)
        parts(dynamic)
        namespaces.delete(name=NAMESPACE)


main()
