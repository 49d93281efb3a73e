//! What can be told from an image's name alone.

/// When a kubelet pulls the image if the container does not say: an image without a tag or digest, or
/// with the tag `latest`, may change, so always.
pub(super) fn default_pull_policy(image: &str) -> &'static str {
    let (name, digest) = image
        .split_once('@')
        .map_or((image, None), |(name, digest)| (name, Some(digest)));
    // A colon before the last slash belongs to the registry's port.
    let last = name.rsplit('/').next().unwrap_or(name);
    match (last.split_once(':'), digest) {
        (Some((_, "latest")), _) | (None, None) => "Always",
        _ => "IfNotPresent",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_decide_the_pull_policy() {
        for (image, policy) in [
            ("web", "Always"),
            ("web:latest", "Always"),
            ("web:1", "IfNotPresent"),
            ("reg.example:5000/web", "Always"),
            ("reg.example:5000/web:1", "IfNotPresent"),
            ("web@sha256:0123", "IfNotPresent"),
            ("web:latest@sha256:0123", "Always"),
        ] {
            assert_eq!(default_pull_policy(image), policy, "{image}");
        }
    }
}
