//! What `create`, `run`, `expose` and `autoscale` make of words.

use anyhow::{Result, ensure};

use crate::kubectl::Kubectl;

/// What is made in the namespace `making`, and what is said of it, since which minor version: before it, `kubectl` asks for
/// a version of the kind that is served no more.
const MADE: &[(&str, &str, u32)] = &[
    ("create quota q --hard=pods=20", "resourcequota/q created", 0),
    ("create secret generic s --from-literal=a=b", "secret/s created", 0),
    (
        "create secret docker-registry r --docker-server=x.example --docker-username=u --docker-password=p",
        "secret/r created",
        0,
    ),
    (
        "create configmap c --from-literal=k=v --from-literal=l=w",
        "configmap/c created",
        0,
    ),
    ("create serviceaccount sa", "serviceaccount/sa created", 0),
    (
        "create service clusterip inside --tcp=80:8080",
        "service/inside created",
        0,
    ),
    (
        "create service nodeport outside --tcp=80:8080",
        "service/outside created",
        0,
    ),
    (
        "create service externalname away --external-name=away.example",
        "service/away created",
        0,
    ),
    (
        "create service loadbalancer balanced --tcp=80:8080",
        "service/balanced created",
        0,
    ),
    (
        "create deployment web --image=trireme.local/hello:1 --replicas=1",
        "deployment.apps/web created",
        0,
    ),
    (
        "expose deployment web --port=80 --name=found",
        "service/found exposed",
        0,
    ),
    (
        "autoscale deployment web --min=1 --max=2 --cpu-percent=80",
        "horizontalpodautoscaler.autoscaling/web autoscaled",
        0,
    ),
    ("run once --image=trireme.local/hello:1", "pod/once created", 0),
    (
        "create role reader --verb=get,list --resource=pods,configmaps",
        "role.rbac.authorization.k8s.io/reader created",
        0,
    ),
    (
        "create rolebinding readers --role=reader --serviceaccount=making:sa",
        "rolebinding.rbac.authorization.k8s.io/readers created",
        0,
    ),
    (
        "create poddisruptionbudget budget --selector=app=web --min-available=1",
        "poddisruptionbudget.policy/budget created",
        21,
    ),
    (
        "create job sum --image=trireme.local/hello:1 -- /hello --help",
        "job.batch/sum created",
        0,
    ),
    (
        "create cronjob nightly --image=trireme.local/hello:1 --schedule '0 3 * * *'",
        "cronjob.batch/nightly created",
        21,
    ),
    (
        "create job tonight --from=cronjob/nightly",
        "job.batch/tonight created",
        21,
    ),
    (
        "create ingress front --class=some --rule=shop.example/cart=inside:80",
        "ingress.networking.k8s.io/front created",
        0,
    ),
];

/// The same for what belongs to no namespace; the last word names it for its deletion.
const MADE_FOR_ALL: &[(&str, &str, &str)] = &[
    (
        "create clusterrole looker --verb=get,list --resource=nodes",
        "clusterrole.rbac.authorization.k8s.io/looker created",
        "clusterrole/looker",
    ),
    (
        "create clusterrolebinding lookers --clusterrole=looker --user=jane",
        "clusterrolebinding.rbac.authorization.k8s.io/lookers created",
        "clusterrolebinding/lookers",
    ),
    (
        "create priorityclass high --value=1000 --description 'before others'",
        "priorityclass.scheduling.k8s.io/high created",
        "priorityclass/high",
    ),
];

pub(super) async fn making(kubectl: &Kubectl) -> Result<()> {
    kubectl
        .says("create namespace making", "namespace/making created")
        .await?;
    for (command, said, since) in MADE {
        if kubectl.is_since(*since) {
            kubectl.says(&format!("-n making {command}"), said).await?;
        }
    }
    for (command, said, name) in MADE_FOR_ALL {
        kubectl.says(command, said).await?;
        kubectl.ok(&format!("delete {name}")).await?;
    }
    kubectl
        .says(
            "get service -n making inside outside away",
            "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE
             inside ClusterIP * <none> 80*/TCP *s
             outside NodePort * <none> 80*/TCP *s
             away ExternalName <none> away.example <none> *s",
        )
        .await?;
    kubectl
        .says(
            "get hpa -n making",
            "NAME REFERENCE TARGETS MINPODS MAXPODS REPLICAS AGE\nweb Deployment/web cpu: <unknown>/80% 1 2 * *s",
        )
        .await?;
    let described = kubectl.ok("describe ingress front -n making").await?;
    ensure!(described.contains("shop.example"), "{described}");
    let described = kubectl.ok("describe rolebinding readers -n making").await?;
    ensure!(described.contains("ServiceAccount"), "{described}");
    // Every kind that `kubectl` has words for has columns, too.
    kubectl
        .ok("get all,ing,hpa,pdb,cj,quota,sa,secret,role,rolebinding -n making")
        .await?;
    kubectl
        .says("delete namespace making --timeout=90s", "namespace \"making\" deleted*")
        .await
}
