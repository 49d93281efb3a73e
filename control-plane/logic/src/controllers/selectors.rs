//! Label selectors of objects, matched against labels.

use std::collections::BTreeMap;

use trireme_proto::api::meta::v1::LabelSelector;

/// True if the selector asks for nothing, and so would match everything.
pub fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.is_empty() && selector.match_expressions.is_empty()
}

/// True if the labels satisfy every requirement. An unknown operator matches nothing.
pub fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    contains(labels, &selector.match_labels)
        && selector.match_expressions.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            match requirement.operator.as_str() {
                "In" => value.is_some_and(|value| requirement.values.contains(value)),
                "NotIn" => value.is_none_or(|value| !requirement.values.contains(value)),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

/// True if `labels` has every pair of `wanted`.
pub fn contains(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use trireme_proto::api::meta::v1::LabelSelectorRequirement;

    use super::*;

    #[test]
    fn operators() {
        let labels = BTreeMap::from([("tier".to_owned(), "web".to_owned())]);
        for (key, operator, values, expected) in [
            ("tier", "In", vec!["web", "db"], true),
            ("tier", "In", vec!["db"], false),
            ("zone", "In", vec!["a"], false),
            ("tier", "NotIn", vec!["web"], false),
            ("zone", "NotIn", vec!["a"], true),
            ("tier", "Exists", vec![], true),
            ("zone", "Exists", vec![], false),
            ("zone", "DoesNotExist", vec![], true),
            ("tier", "Gt", vec!["1"], false),
        ] {
            let requirement = LabelSelectorRequirement {
                key: key.into(),
                operator: operator.into(),
                values: values.iter().map(|value| (*value).to_owned()).collect(),
            };
            let selector = LabelSelector {
                match_expressions: vec![requirement],
                ..LabelSelector::default()
            };
            assert_eq!(matches(&selector, &labels), expected, "{key} {operator} {values:?}");
        }
    }
}
