//! Manifests as people write them, given to each `kubectl` there is.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{kubectl::Kubectl, verbs::with_each};

/// How large a value is that a chart puts into a ConfigMap, in bytes: too large for the annotation of a client-side apply.
const LARGE: usize = 700 << 10;

/// What a chart is rendered to: comments, empty documents, the labels and annotations that Helm writes, quoted numbers, anchors,
/// merge keys, block scalars, and a list.
const CHART: &str = r#"---
# Source: shop/templates/empty.yaml
---
# Source: shop/templates/configmap.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: shop-config
  labels: {app.kubernetes.io/name: shop, app.kubernetes.io/managed-by: Helm}
  annotations:
    meta.helm.sh/release-name: release-1
    meta.helm.sh/release-namespace: written
    checksum/config: 01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b
data:
  port: "8080"
  enabled: 'true'
  folded: >-
    one line
    of two
  script: |
    #!/bin/sh
    # not a comment of YAML
    echo "$HOME" > /dev/null

    exit 0
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
  labels:
    helm.sh/chart: shop-1.2.3
    app.kubernetes.io/version: "1.0"
    app.kubernetes.io/managed-by: Helm
spec:
  replicas: 1
  paused: true
  selector:
    matchLabels: &selector
      app.kubernetes.io/name: shop
      app.kubernetes.io/instance: "release-1"
  template:
    metadata:
      labels:
        <<: *selector
        tier: front
    spec:
      containers:
        - name: shop
          image: "trireme.local/hello:1"
          env:
            - {name: PORT, valueFrom: {configMapKeyRef: {name: shop-config, key: port}}}
            - name: EMPTY
              value: ""
          ports:
            - name: http
              containerPort: 8080
              protocol: TCP
          livenessProbe:
            httpGet: {path: /, port: http}
          resources:
            limits: {cpu: 0.5, memory: 128Mi}
            requests: {cpu: 100m, memory: "134217728"}
...
---
apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: Service
    metadata: {name: shop, labels: {app: shop}}
    spec:
      ports: [{port: 80, targetPort: http}]
      selector: {app.kubernetes.io/name: shop}
  - apiVersion: v1
    kind: Secret
    metadata: {name: shop}
    type: Opaque
    data: {password: cGFzcw==}
    stringData: {user: admin}
"#;

/// What the chart makes.
const MADE: [&str; 4] = [
    "configmap/shop-config",
    "deployment.apps/shop",
    "service/shop",
    "secret/shop",
];

#[tokio::test]
async fn manifests_as_people_write_them() -> Result<()> {
    with_each(1, manifests).await
}

async fn manifests(kubectl: &Kubectl) -> Result<()> {
    kubectl.ok("create namespace written").await?;
    chart(kubectl, CHART).await.context("a chart")?;
    chart(kubectl, &CHART.replace('\n', "\r\n"))
        .await
        .context("a chart with the line ends of Windows")?;
    json(kubectl).await.context("JSON")?;
    large(kubectl).await.context("a large ConfigMap")?;
    kustomized(kubectl).await.context("a kustomization")?;
    kubectl.ok("delete namespace written --timeout=90s").await?;
    Ok(())
}

/// Applies a chart, again, and deletes it.
async fn chart(kubectl: &Kubectl, manifest: &str) -> Result<()> {
    let created = kubectl.ok_with("apply -n written -f -", manifest).await?;
    ensure!(
        created == MADE.map(|name| format!("{name} created\n")).concat(),
        "{created}"
    );
    // `kubectl` sees a difference where the server writes a number in another way, or not at all.
    let again = kubectl.ok_with("apply -n written -f -", manifest).await?;
    let [config, deployment, service, secret] = MADE;
    let expected = format!("{config} unchanged\n{deployment} configured\n{service} unchanged\n{secret} configured\n");
    ensure!(again == expected, "{again}");
    let config: Value = serde_json::from_str(&kubectl.ok("get configmap shop-config -n written -o json").await?)?;
    ensure!(config["data"]["folded"] == "one line of two", "{config}");
    let script = "#!/bin/sh\n# not a comment of YAML\necho \"$HOME\" > /dev/null\n\nexit 0\n";
    ensure!(config["data"]["script"] == script, "{config}");
    let deployment: Value = serde_json::from_str(&kubectl.ok("get deployment shop -n written -o json").await?)?;
    ensure!(
        deployment["metadata"]["labels"]["app.kubernetes.io/version"] == "1.0",
        "{deployment}"
    );
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    ensure!(
        labels["app.kubernetes.io/instance"] == "release-1" && labels["tier"] == "front",
        "{labels}"
    );
    let limits = &deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"];
    ensure!(limits["cpu"] == "500m", "{limits}");
    let user = kubectl
        .ok("get secret shop -n written -o jsonpath={.data.user}")
        .await?;
    ensure!(user == "YWRtaW4=", "{user}");
    kubectl.ok_with("delete -n written -f -", manifest).await?;
    Ok(())
}

/// A manifest in JSON, with a name that is made up.
async fn json(kubectl: &Kubectl) -> Result<()> {
    let manifest =
        r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"made-"},"data":{"k":"\u00e4\t"}}"#;
    let name = kubectl.ok_with("create -n written -o name -f -", manifest).await?;
    let name = name.trim();
    ensure!(name.starts_with("configmap/made-"), "{name}");
    let value = kubectl
        .ok(&format!("get {name} -n written -o jsonpath={{.data.k}}"))
        .await?;
    ensure!(value == "\u{e4}\t", "{value:?}");
    Ok(())
}

/// What is too large to be remembered in an annotation can be created, replaced, and applied by the server.
async fn large(kubectl: &Kubectl) -> Result<()> {
    let manifest = |letter: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: large, namespace: written}}\ndata:\n  text: {}\n",
            letter.repeat(LARGE)
        )
    };
    let refused = kubectl.run("apply -f -", &manifest("a")).await?;
    ensure!(
        refused.code == 1 && refused.stderr.contains("metadata.annotations: Too long: "),
        "{}{}",
        refused.stdout,
        refused.stderr
    );
    let created = kubectl.ok_with("create -f -", &manifest("a")).await?;
    ensure!(created == "configmap/large created\n", "{created}");
    let replaced = kubectl.ok_with("replace -f -", &manifest("b")).await?;
    ensure!(replaced == "configmap/large replaced\n", "{replaced}");
    let applied = kubectl
        .ok_with("apply --server-side --force-conflicts -f -", &manifest("c"))
        .await?;
    ensure!(applied == "configmap/large serverside-applied\n", "{applied}");
    let text = kubectl
        .ok("get configmap large -n written -o jsonpath={.data.text}")
        .await?;
    ensure!(text.len() == LARGE && text.starts_with("ccc"), "{} bytes", text.len());
    Ok(())
}

/// A folder with a kustomization, which `kubectl` builds itself.
async fn kustomized(kubectl: &Kubectl) -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(
        folder.path().join("kustomization.yaml"),
        "namespace: written\nnamePrefix: pre-\nresources: [one.yaml]\nconfigMapGenerator:\n- name: settings\n  literals: [k=v]\n",
    )?;
    std::fs::write(
        folder.path().join("one.yaml"),
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\n",
    )?;
    let path = folder.path().display();
    let applied = kubectl.ok(&format!("apply -k {path}")).await?;
    ensure!(
        applied.contains("configmap/pre-one created") && applied.contains("configmap/pre-settings-"),
        "{applied}"
    );
    kubectl.ok(&format!("delete -k {path}")).await?;
    Ok(())
}
