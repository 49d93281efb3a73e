"""The typed API of Python's client: models in, models out, and errors that say what was wrong."""

import sys

from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException

NAMESPACE = "python-typed"


def refused(call, *arguments, **options):
    """The error that a call must end with."""
    try:
        call(*arguments, **options)
    except ApiException as error:
        return error
    raise AssertionError(f"{call.__name__} should have been refused")


def configmaps(core):
    body = client.V1ConfigMap(
        metadata=client.V1ObjectMeta(name="a", labels={"tier": "front"}), data={"k": "v"}
    )
    made = core.create_namespaced_config_map(NAMESPACE, body)
    assert made.metadata.uid and made.data == {"k": "v"}, made
    assert made.metadata.creation_timestamp.tzinfo is not None, made
    exists = refused(core.create_namespaced_config_map, NAMESPACE, body)
    assert exists.status == 409 and '"reason":"AlreadyExists"' in exists.body, exists

    patched = core.patch_namespaced_config_map("a", NAMESPACE, {"data": {"l": "x"}})
    assert patched.data == {"k": "v", "l": "x"}, patched
    operations = [{"op": "remove", "path": "/data/l"}]
    assert core.patch_namespaced_config_map("a", NAMESPACE, operations).data == {"k": "v"}
    stale = refused(core.replace_namespaced_config_map, "a", NAMESPACE, made)
    assert stale.status == 409, stale

    listed = core.list_namespaced_config_map(NAMESPACE, label_selector="tier in (front)")
    assert [item.metadata.name for item in listed.items] == ["a"], listed
    core.create_namespaced_config_map(
        NAMESPACE, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="b"))
    )
    first = core.list_namespaced_config_map(NAMESPACE, limit=1)
    assert len(first.items) == 1 and first.metadata._continue, first
    second = core.list_namespaced_config_map(NAMESPACE, limit=1, _continue=first.metadata._continue)
    assert second.metadata.resource_version == first.metadata.resource_version, second

    wrong = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="Not A Name"))
    invalid = refused(core.create_namespaced_config_map, NAMESPACE, wrong)
    assert invalid.status == 422 and "metadata.name" in invalid.body, invalid
    missing = refused(core.read_namespaced_config_map, "none", NAMESPACE)
    assert missing.status == 404 and missing.reason == "Not Found", missing


def watched(core):
    """A watch that begins at a list is told of what came after it."""
    since = core.list_namespaced_config_map(NAMESPACE).metadata.resource_version
    core.patch_namespaced_config_map("a", NAMESPACE, {"data": {"k": "w"}})
    core.delete_namespaced_config_map("a", NAMESPACE)
    told = []
    stream = watch.Watch()
    for event in stream.stream(
        core.list_namespaced_config_map, NAMESPACE, resource_version=since, timeout_seconds=30
    ):
        told.append((event["type"], event["object"].metadata.name))
        if event["type"] == "DELETED":
            stream.stop()
    assert told == [("MODIFIED", "a"), ("DELETED", "a")], told


def workloads(apps, core):
    labels = {"app": "web"}
    web = client.V1Deployment(
        metadata=client.V1ObjectMeta(name="web"),
        spec=client.V1DeploymentSpec(
            replicas=1,
            selector=client.V1LabelSelector(match_labels=labels),
            template=client.V1PodTemplateSpec(
                metadata=client.V1ObjectMeta(labels=labels),
                spec=client.V1PodSpec(
                    termination_grace_period_seconds=1,
                    containers=[client.V1Container(name="web", image="trireme.local/hello:1")],
                ),
            ),
        ),
    )
    apps.create_namespaced_deployment(NAMESPACE, web)
    stream = watch.Watch()
    ready = None
    for event in stream.stream(
        apps.list_namespaced_deployment, NAMESPACE, field_selector="metadata.name=web", timeout_seconds=90
    ):
        ready = event["object"].status.ready_replicas
        if ready == 1:
            stream.stop()
    assert ready == 1, "the deployment gets ready"
    pods = core.list_namespaced_pod(NAMESPACE, label_selector="app=web").items
    log = core.read_namespaced_pod_log(pods[0].metadata.name, NAMESPACE, tail_lines=1)
    assert len(log.splitlines()) == 1, log
    apps.patch_namespaced_deployment_scale("web", NAMESPACE, {"spec": {"replicas": 0}})
    # Zeros are left out.
    assert not apps.read_namespaced_deployment_scale("web", NAMESPACE).spec.replicas
    events = core.list_namespaced_event(NAMESPACE, field_selector="involvedObject.name=web").items
    assert any(event.reason == "ScalingReplicaSet" for event in events), events
    apps.delete_namespaced_deployment("web", NAMESPACE, propagation_policy="Foreground")


def reviews(api):
    attributes = client.V1ResourceAttributes(verb="create", resource="pods", namespace=NAMESPACE)
    review = client.V1SelfSubjectAccessReview(
        spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
    )
    answer = client.AuthorizationV1Api(api).create_self_subject_access_review(review)
    assert answer.status.allowed is True, answer
    whoami = client.AuthenticationV1Api(api).create_self_subject_review(client.V1SelfSubjectReview())
    assert whoami.status.user_info.username, whoami


def main():
    config.load_kube_config(sys.argv[1])
    api = client.ApiClient()
    core = client.CoreV1Api(api)
    assert client.VersionApi(api).get_code().major == "1"
    assert "apps" in [group.name for group in client.ApisApi(api).get_api_versions().groups]
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))
    configmaps(core)
    watched(core)
    workloads(client.AppsV1Api(api), core)
    reviews(api)
    core.delete_namespace(NAMESPACE)


main()
