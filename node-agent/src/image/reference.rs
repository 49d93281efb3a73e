//! Image names: the short forms that people write, and the full form that stores use.

use super::ImageError;

/// The longest image name, in bytes.
const NAME_MAX_BYTES: usize = 512;

/// Completes a name: `hello` becomes `docker.io/library/hello:latest`; a name with a host keeps it.
///
/// # Errors
/// Fails if the name is empty, too long, or has characters that no image name has.
pub fn normalise(name: &str) -> Result<String, ImageError> {
    let refused = || ImageError::Name { name: name.to_owned() };
    let allowed = |character: char| character.is_ascii_alphanumeric() || "._-/:@+".contains(character);
    let segments_fine = name.split('/').all(|segment| !segment.is_empty());
    if name.is_empty() || name.len() > NAME_MAX_BYTES || !name.chars().all(allowed) || !segments_fine {
        return Err(refused());
    }
    let with_host = match name.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
        None => format!("docker.io/library/{name}"),
    };
    let last = with_host.rsplit('/').next().unwrap_or_default();
    if last.contains('@') || last.contains(':') {
        Ok(with_host)
    } else {
        Ok(format!("{with_host}:latest"))
    }
}

/// True if the name's tag is `latest`, so that the default pull policy is to always pull.
#[must_use]
pub fn is_latest(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or_default();
    !last.contains('@') && last.rsplit_once(':').is_none_or(|(_, tag)| tag == "latest")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed() {
        for (given, full) in [
            ("hello", "docker.io/library/hello:latest"),
            ("hello:1", "docker.io/library/hello:1"),
            ("team/hello", "docker.io/team/hello:latest"),
            ("trireme.local/hello:1", "trireme.local/hello:1"),
            ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
            ("a.b/c@sha256:00", "a.b/c@sha256:00"),
        ] {
            assert_eq!(normalise(given).unwrap(), full);
        }
        for bad in ["", "a//b", "a b", "/a", "a/", "a\nb"] {
            assert!(normalise(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn latest_is_recognised() {
        assert!(is_latest("hello") && is_latest("a.b:5000/hello:latest") && is_latest("a.b:5000/hello"));
        assert!(!is_latest("hello:1") && !is_latest("a/b@sha256:00"));
    }
}
