//! How names of the `.proto` files look in Rust. Must agree with prost where prost decides.

/// The words of a camel-case name. A run of capitals is one word (`podCIDR`), also with a plural `s`
/// (`podIPs`, which a plain splitter would turn into `pod_i_ps`).
fn words(name: &str, plural_acronyms: bool) -> Vec<String> {
    let chars: Vec<char> = name.chars().collect();
    let mut words = Vec::new();
    let mut word = String::new();
    for (i, &c) in chars.iter().enumerate() {
        let previous = i.checked_sub(1).map(|p| chars[p]);
        let next = chars.get(i + 1).copied();
        let after_next = chars.get(i + 2).copied();
        let plural = plural_acronyms
            && next == Some('s')
            && after_next.is_none_or(char::is_uppercase)
            && previous.is_some_and(char::is_uppercase);
        let starts = c.is_uppercase()
            && previous.is_some_and(|p| !p.is_uppercase() || (next.is_some_and(char::is_lowercase) && !plural));
        if (starts || c == '_') && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if c != '_' {
            word.push(c);
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// The Rust field name for a JSON name: `podIPs` is `pod_ips`.
pub(crate) fn field(json_name: &str) -> String {
    let words: Vec<String> = words(json_name, true).iter().map(|word| word.to_lowercase()).collect();
    words.join("_")
}

/// The Rust field as it is written in code, with `r#` before a keyword.
pub(crate) fn field_ident(json_name: &str) -> String {
    let name = field(json_name);
    match name.as_str() {
        "type" | "continue" | "ref" | "use" | "in" | "match" => format!("r#{name}"),
        _ => name,
    }
}

/// The Rust type name that prost gives a message: `PodIP` is `PodIp`.
pub(crate) fn message(name: &str) -> String {
    words(name, false)
        .iter()
        .map(|word| {
            let mut chars = word.chars();
            let first = chars.next().map(|c| c.to_ascii_uppercase());
            first
                .into_iter()
                .chain(chars.map(|c| c.to_ascii_lowercase()))
                .collect::<String>()
        })
        .collect()
}
