//! The syntax of names, keys, ports and addresses, with the wording of Kubernetes.
//!
//! Each function returns what is wrong, in order; nothing means the value is good. None of them knows
//! where the value stands; callers add the path.

use crate::{kind::NameRule, limits};

const LABEL_PATTERN: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN_PATTERN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const LABEL_1035_PATTERN: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const QUALIFIED_NAME_PATTERN: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const LABEL_VALUE_PATTERN: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";

/// Checks an object's name by the rule of its kind.
pub fn object_name(rule: NameRule, name: &str) -> Vec<String> {
    match rule {
        NameRule::DnsSubdomain => dns_subdomain(name),
        NameRule::DnsLabel => dns_label(name),
        NameRule::DnsLabel1035 => dns_label_1035(name),
        NameRule::PathSegment => path_segment(name),
    }
}

/// Checks a prefix from which a name will be made, so that it may end with a dash.
pub fn object_name_prefix(rule: NameRule, prefix: &str) -> Vec<String> {
    if rule == NameRule::PathSegment {
        return path_characters(prefix);
    }
    // Kubernetes judges such a prefix as if something followed its last dash.
    match prefix.strip_suffix('-') {
        Some(stem) if !stem.is_empty() => object_name(rule, &format!("{stem}a")),
        _ => object_name(rule, prefix),
    }
}

/// An RFC 1123 label.
pub fn dns_label(value: &str) -> Vec<String> {
    let mut complaints = too_long(value, limits::DNS_LABEL_BYTES);
    if !is_dns_label(value) {
        let rule = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
                    and must start and end with an alphanumeric character";
        complaints.push(pattern_error(rule, LABEL_PATTERN, &["my-name", "123-abc"]));
    }
    complaints
}

/// An RFC 1123 subdomain.
pub fn dns_subdomain(value: &str) -> Vec<String> {
    let mut complaints = too_long(value, limits::DNS_SUBDOMAIN_BYTES);
    if !value.split('.').all(is_dns_label) {
        let rule = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
                    and must start and end with an alphanumeric character";
        complaints.push(pattern_error(rule, SUBDOMAIN_PATTERN, &["example.com"]));
    }
    complaints
}

/// An RFC 1123 subdomain after `*.`.
pub fn wildcard_dns_subdomain(value: &str) -> Vec<String> {
    let mut complaints = too_long(value, limits::DNS_SUBDOMAIN_BYTES);
    if !value
        .strip_prefix("*.")
        .is_some_and(|rest| rest.split('.').all(is_dns_label))
    {
        let rule = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must \
                    consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
        let pattern = format!(r"\*\.{SUBDOMAIN_PATTERN}");
        complaints.push(pattern_error(rule, &pattern, &["*.example.com"]));
    }
    complaints
}

/// An RFC 1035 label.
pub fn dns_label_1035(value: &str) -> Vec<String> {
    let mut complaints = too_long(value, limits::DNS_LABEL_BYTES);
    if !is_dns_label(value) || !value.starts_with(|first: char| first.is_ascii_lowercase()) {
        let rule = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', \
                    start with an alphabetic character, and end with an alphanumeric character";
        complaints.push(pattern_error(rule, LABEL_1035_PATTERN, &["my-name", "abc-123"]));
    }
    complaints
}

/// One segment of a path.
pub fn path_segment(value: &str) -> Vec<String> {
    match value {
        "." | ".." => vec![format!("may not be '{value}'")],
        _ => path_characters(value),
    }
}

/// A label key, taint key or finalizer: a name with an optional domain before a slash.
pub fn qualified_name(value: &str) -> Vec<String> {
    let rule = "must consist of alphanumeric characters, '-', '_' or '.', \
                and must start and end with an alphanumeric character";
    let examples = ["MyName", "my.name", "123-abc"];
    let mut complaints = Vec::new();
    let name = match value.split('/').collect::<Vec<_>>()[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                complaints.push("prefix part must be non-empty".into());
            } else {
                complaints.extend(
                    dns_subdomain(prefix)
                        .into_iter()
                        .map(|why| format!("prefix part {why}")),
                );
            }
            name
        }
        _ => {
            let error = pattern_error(rule, QUALIFIED_NAME_PATTERN, &examples);
            return vec![format!(
                "a qualified name {error} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        complaints.push("name part must be non-empty".into());
    } else {
        complaints.extend(
            too_long(name, limits::LABEL_BYTES)
                .into_iter()
                .map(|why| format!("name part {why}")),
        );
    }
    if !is_label_text(name) {
        complaints.push(format!(
            "name part {}",
            pattern_error(rule, QUALIFIED_NAME_PATTERN, &examples)
        ));
    }
    complaints
}

/// A label's value.
pub fn label_value(value: &str) -> Vec<String> {
    let mut complaints = too_long(value, limits::LABEL_BYTES);
    if !value.is_empty() && !is_label_text(value) {
        let rule = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
                    and must start and end with an alphanumeric character";
        complaints.push(pattern_error(
            rule,
            LABEL_VALUE_PATTERN,
            &["MyValue", "my_value", "12345"],
        ));
    }
    complaints
}

/// The reason of a condition.
pub fn condition_reason(value: &str) -> Vec<String> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_,:".contains(&byte);
    let good = value.bytes().all(inner)
        && value.bytes().next().is_some_and(|first| first.is_ascii_alphabetic())
        && !value.ends_with([',', ':']);
    if good {
        return Vec::new();
    }
    let rule = "a condition reason must start with alphabetic character, optionally followed by a string of \
                alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'";
    vec![pattern_error(
        rule,
        "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?",
        &["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"],
    )]
}

/// A path under a domain, such as `example.com/queue`; what is wrong beside the whole is told of its part.
pub fn domain_prefixed_path(value: &str) -> Vec<String> {
    match value.split_once('/') {
        Some((domain, path)) if !domain.is_empty() && !path.is_empty() => dns_subdomain(domain),
        _ => vec!["must be a domain-prefixed path (such as \"acme.io/foo\")".into()],
    }
}

/// The name of an environment variable.
pub fn env_name(value: &str) -> Vec<String> {
    if value.is_empty() {
        vec!["environment variable name must be non-empty".into()]
    } else if !value.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=') {
        vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".into()]
    } else {
        Vec::new()
    }
}

/// A key of a ConfigMap or Secret, which may become a file name.
pub fn data_key(value: &str) -> Vec<String> {
    let mut complaints = too_long(value, limits::DATA_KEY_BYTES);
    if value.is_empty()
        || !value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    {
        let rule = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        complaints.push(pattern_error(
            rule,
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    match value {
        "." | ".." => complaints.push(format!("must not be '{value}'")),
        _ if value.starts_with("..") => complaints.push("must not start with '..'".into()),
        _ => {}
    }
    complaints
}

/// The name of a port.
pub fn port_name(value: &str) -> Vec<String> {
    let mut complaints = too_long(value, limits::PORT_NAME_BYTES);
    if value.is_empty()
        || !value
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    {
        complaints.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !value.bytes().any(|byte| byte.is_ascii_lowercase()) {
        complaints.push("must contain at least one letter (a-z)".into());
    }
    if value.contains("--") {
        complaints.push("must not contain consecutive hyphens".into());
    }
    if value.starts_with('-') || value.ends_with('-') {
        complaints.push("must not begin or end with a hyphen".into());
    }
    complaints
}

/// The number of a port.
pub fn port_number(value: i64) -> Vec<String> {
    if (1..=65_535).contains(&value) {
        Vec::new()
    } else {
        vec!["must be between 1 and 65535, inclusive".into()]
    }
}

/// A percentage.
pub fn percent(value: &str) -> Vec<String> {
    let digits = value.strip_suffix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Vec::new();
    }
    let rule = "a valid percent string must be a numeric string followed by an ending '%'";
    vec![pattern_error(rule, "[0-9]+%", &["1%", "93%"])]
}

/// An IP address.
pub fn ip_address(value: &str) -> Vec<String> {
    match value.parse::<std::net::IpAddr>() {
        Ok(_) => Vec::new(),
        Err(_) => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".into()],
    }
}

/// A network, such as `10.0.0.0/24`.
pub fn cidr(value: &str) -> Vec<String> {
    let good = value.split_once('/').is_some_and(|(address, bits)| {
        let most = match address.parse::<std::net::IpAddr>() {
            Ok(std::net::IpAddr::V4(_)) => 32,
            Ok(std::net::IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        bits.parse::<u8>().is_ok_and(|bits| bits <= most)
    });
    if good {
        Vec::new()
    } else {
        vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".into()]
    }
}

/// True for the text of an RFC 1123 label, whatever its length.
fn is_dns_label(value: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !value.is_empty()
        && value.bytes().all(|byte| inner(byte) || byte == b'-')
        && value.bytes().next().is_some_and(inner)
        && value.bytes().next_back().is_some_and(inner)
}

/// True for text that begins and ends with a letter or digit, with dashes, dots and underlines between.
fn is_label_text(value: &str) -> bool {
    let end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    end(value.bytes().next())
        && end(value.bytes().next_back())
        && value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn path_characters(value: &str) -> Vec<String> {
    ['/', '%']
        .into_iter()
        .filter(|bad| value.contains(*bad))
        .map(|bad| format!("may not contain '{bad}'"))
        .collect()
}

fn too_long(value: &str, limit_bytes: usize) -> Vec<String> {
    if value.len() > limit_bytes {
        vec![format!("must be no more than {limit_bytes} characters")]
    } else {
        Vec::new()
    }
}

/// Appends examples and the pattern to a rule.
fn pattern_error(rule: &str, pattern: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!(
        "{rule} (e.g. {}regex used for validation is '{pattern}')",
        examples.join(" or ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subdomain_error_has_kubernetes_wording() {
        assert_eq!(
            dns_subdomain("Web_1"),
            [
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
              start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
              '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ]
        );
    }

    #[test]
    fn two_examples_are_joined_by_or() {
        assert!(
            dns_label("A")[0].contains("(e.g. 'my-name',  or '123-abc', regex used"),
            "{:?}",
            dns_label("A")
        );
    }

    #[test]
    fn syntax_table() {
        type Check = fn(&str) -> Vec<String>;
        let long_label = "a".repeat(64);
        let long_name = "a".repeat(254);
        let table: &[(&str, Check, &[&str], &[&str])] = &[
            (
                "label",
                dns_label,
                &["a", "a-1", "1a"],
                &["", "-a", "a-", "A", "a.b", &long_label],
            ),
            (
                "subdomain",
                dns_subdomain,
                &["a", "a.b-c.1", &long_label],
                &["", ".", "a..b", "a.", "a_b", &long_name],
            ),
            (
                "wildcard",
                wildcard_dns_subdomain,
                &["*.a", "*.a.b"],
                &["a.b", "*", "*.", "*a.b", "a.*.b", "*.*.a"],
            ),
            ("label 1035", dns_label_1035, &["a", "a1"], &["1a", "", "a.b"]),
            (
                "path segment",
                path_segment,
                &["a:b", "system:x", "A"],
                &[".", "..", "a/b", "a%b"],
            ),
            (
                "qualified",
                qualified_name,
                &["a", "A_b.c", "x.io/A"],
                &["", "a/", "/a", "a/b/c", "X/a", "-a", "a b"],
            ),
            (
                "condition reason",
                condition_reason,
                &["A", "a_B", "A:b,C_"],
                &["", "1a", "a:", "a b", "_a"],
            ),
            (
                "domain-prefixed path",
                domain_prefixed_path,
                &["a.b/c", "a/b/c"],
                &["", "a", "a/", "/a", "A/b"],
            ),
            (
                "label value",
                label_value,
                &["", "a", "A_1.b"],
                &["-a", "a b", &long_label],
            ),
            ("env", env_name, &["A", "a b", "1.x"], &["", "a=b", "\u{e4}"]),
            (
                "data key",
                data_key,
                &["a", ".a", "A_b-c.d"],
                &["", ".", "..", "..a", "a/b", &long_name],
            ),
            (
                "port name",
                port_name,
                &["http", "a-1"],
                &["", "HTTP", "1", "a--b", "-a", "a-", "abcdefghijklmnop"],
            ),
            ("percent", percent, &["0%", "25%"], &["25", "%", "2.5%", "-1%"]),
            ("address", ip_address, &["10.0.0.1", "::1"], &["", "10.0.0", "x"]),
            (
                "network",
                cidr,
                &["10.0.0.0/24", "::/0"],
                &["10.0.0.0", "10.0.0.0/33", "x/1", "::/129"],
            ),
        ];
        for (rule, check, good, bad) in table {
            for value in *good {
                assert_eq!(check(value), Vec::<String>::new(), "{rule}: {value:?} is good");
            }
            for value in *bad {
                assert!(!check(value).is_empty(), "{rule}: {value:?} is bad");
            }
        }
    }

    #[test]
    fn prefixes_may_end_with_a_dash() {
        assert!(object_name_prefix(NameRule::DnsSubdomain, "web-").is_empty());
        assert!(!object_name_prefix(NameRule::DnsSubdomain, "Web-").is_empty());
        assert!(!object_name_prefix(NameRule::DnsSubdomain, "-").is_empty());
        assert!(object_name_prefix(NameRule::PathSegment, "..").is_empty());
    }

    #[test]
    fn port_numbers() {
        assert!(port_number(0).len() == 1 && port_number(65_536).len() == 1 && port_number(1).is_empty());
    }
}
