//! Which objects a list or watch is about: label and field selectors on objects of any kind.

use trireme_proto::selector::{FieldSelector, LabelSelector};

use crate::{kind::KindInfo, object::Object};

/// A field selector names a field that the kind does not serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field label not supported: {0}")]
pub struct UnsupportedField(pub String);

/// Checks that a kind serves every field that a selector names.
///
/// # Errors
/// Names the first one it does not.
pub fn check_fields(info: &KindInfo, selector: &FieldSelector) -> Result<(), UnsupportedField> {
    for requirement in selector.requirements() {
        let path = requirement.path.as_str();
        let of_metadata = path == "metadata.name" || (path == "metadata.namespace" && info.namespaced);
        if !of_metadata && !info.selectable_fields.contains(&path) {
            return Err(UnsupportedField(requirement.path.clone()));
        }
    }
    Ok(())
}

/// True if an object meets both selectors.
pub fn object_matches(labels: &LabelSelector, fields: &FieldSelector, object: &dyn Object) -> bool {
    let meta = object.metadata();
    labels.matches(&meta.labels)
        && fields.requirements().iter().all(|requirement| {
            let equal = match requirement.path.as_str() {
                "metadata.name" => meta.name == requirement.value,
                "metadata.namespace" => meta.namespace == requirement.value,
                path => object.selectable_field(path).unwrap_or_default() == requirement.value,
            };
            equal == requirement.equal
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kind::Kind,
        testing::{mk_node, mk_pod},
    };

    fn check(labels: &str, fields: &str, object: &dyn Object, expected: bool) {
        let labels_selector: LabelSelector = labels.parse().expect("a selector");
        let fields_selector: FieldSelector = fields.parse().expect("a selector");
        check_fields(object.info(), &fields_selector).expect("served");
        assert_eq!(
            object_matches(&labels_selector, &fields_selector, object),
            expected,
            "{labels:?} {fields:?}"
        );
    }

    #[test]
    fn both_selectors_must_match() {
        let mut pod = mk_pod("shop", "web");
        pod.spec.get_or_insert_default().node_name = "n1".into();
        for (labels, fields, expected) in [
            ("", "", true),
            ("app=web", "spec.nodeName=n1", true),
            ("app in (web,db)", "metadata.name=web,metadata.namespace=shop", true),
            ("app!=web", "", false),
            ("app=web", "spec.nodeName!=n1", false),
            ("", "status.phase=Running", false),
            ("", "status.phase=Pending,spec.restartPolicy=Always", true),
        ] {
            check(labels, fields, &pod, expected);
        }
        check("", "spec.unschedulable=false", &mk_node("n1"), true);
    }

    #[test]
    fn unknown_fields_are_named() {
        let selector: FieldSelector = "metadata.name=a,spec.colour=red".parse().expect("a selector");
        let error = check_fields(&trireme_proto::api::core::v1::Pod::INFO, &selector).expect_err("not served");
        assert_eq!(error.to_string(), "field label not supported: spec.colour");
        let selector: FieldSelector = "metadata.namespace=a".parse().expect("a selector");
        check_fields(&trireme_proto::api::core::v1::Node::INFO, &selector).expect_err("nodes have no namespace");
    }
}
