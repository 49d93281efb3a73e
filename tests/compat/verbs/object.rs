//! One object through the verbs that all kinds have.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::kubectl::Kubectl;

pub(super) async fn one_object(kubectl: &Kubectl) -> Result<()> {
    kubectl.says("create namespace shop", "namespace/shop created").await?;
    kubectl
        .says("create configmap a -n shop --from-literal=k=v", "configmap/a created")
        .await?;
    kubectl
        .fails(
            "create configmap a -n shop",
            1,
            kubectl.words(
                "Error from server (AlreadyExists): configmaps \"a\" already exists",
                21,
                "error: failed to create configmap: configmaps \"a\" already exists",
            ),
        )
        .await?;
    kubectl.says("get configmap a -n shop", "NAME DATA AGE\na 1 *s").await?;
    kubectl.says("get configmaps -A -l tier=front", "").await?;
    kubectl
        .says("label configmap a -n shop tier=front", "configmap/a labeled")
        .await?;
    kubectl
        .fails(
            "label configmap a -n shop tier=back",
            1,
            "error: 'tier' already has a value (front), and --overwrite is false",
        )
        .await?;
    kubectl
        .says("annotate configmap a -n shop note=1", "configmap/a annotated")
        .await?;
    kubectl
        .says(
            "get configmaps -A -l tier=front",
            "NAMESPACE NAME DATA AGE\nshop a 1 *s",
        )
        .await?;
    let shown = "apiVersion: v1
        data:
        k: v
        kind: ConfigMap
        metadata:
        annotations:
        note: \"1\"
        creationTimestamp: \"*\"
        labels:
        tier: front
        MANAGED
        name: a
        namespace: shop
        resourceVersion: \"*\"
        uid: *";
    // The older one shows who owns what.
    let managed = kubectl.words("managedFields:\n...\nmanager: kubectl-label\n...", 21, "");
    kubectl
        .says("get configmap a -n shop -o yaml", &shown.replace("MANAGED", managed))
        .await?;
    kubectl
        .says(
            "patch configmap a -n shop -p '{\"data\":{\"k\":\"w\"}}'",
            "configmap/a patched",
        )
        .await?;
    kubectl
        .says(
            "patch configmap a -n shop --type=json -p '[{\"op\":\"add\",\"path\":\"/data/l\",\"value\":\"x\"}]'",
            "configmap/a patched",
        )
        .await?;
    kubectl
        .says("get configmap a -n shop -o jsonpath={.data.k}{.data.l}", "wx")
        .await?;
    kubectl
        .says(
            "describe configmap a -n shop",
            "Name: a\nNamespace: shop\nLabels: tier=front\nAnnotations: note: 1\nData\n====\n...",
        )
        .await?;
    let list: Value = serde_json::from_str(&kubectl.ok("get configmaps -n shop -o json").await?)?;
    ensure!(
        list["kind"] == "List" && list["items"][0]["kind"] == "ConfigMap",
        "kubectl names what is in a list: {list}"
    );
    // An older one does not find the parameter, as it does not in Kubernetes: see `diff`.
    if kubectl.is_since(27) {
        kubectl
            .says("create configmap b -n shop --dry-run=server -o name", "configmap/b")
            .await?;
    }
    kubectl
        .fails(
            "get configmap b -n shop",
            1,
            "Error from server (NotFound): configmaps \"b\" not found",
        )
        .await?;
    let typo = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: shop}\noars: 3\n";
    // The older one looks for itself, in the document of version 2.
    let unknown = kubectl.words(
        "ValidationError(ConfigMap): unknown field \"oars\" in io.k8s.api.core.v1.ConfigMap",
        25,
        "strict decoding error: unknown field \"oars\"",
    );
    let refused = kubectl.run("create -f -", typo).await?;
    ensure!(
        refused.code == 1 && refused.stderr.contains(unknown),
        "{}",
        refused.stderr
    );
    if kubectl.is_since(25) {
        let warned = kubectl.run("create --validate=warn -f -", typo).await?;
        ensure!(
            warned.code == 0 && warned.stderr.contains("Warning: unknown field \"oars\""),
            "{}{}",
            warned.stdout,
            warned.stderr
        );
    }
    kubectl
        .says("delete configmap a -n shop", "configmap \"a\" deleted*")
        .await?;
    kubectl
        .says("delete namespace shop --timeout=60s", "namespace \"shop\" deleted*")
        .await?;
    kubectl
        .fails(
            "get namespace shop",
            1,
            "Error from server (NotFound): namespaces \"shop\" not found",
        )
        .await
}
