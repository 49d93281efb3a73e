//! How much the bounded empty directories of a pod hold. A pod with one that holds too much is evicted.

use crate::convert::quantity_value;
use crate::limits;
use crate::paths::join_component;
use crate::pod::spec::spec_of;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use trireme_proto::api::core::v1::Pod;

/// Bytes of one block, as the file system counts what a file takes up.
const BLOCK_BYTES: u64 = 512;

/// One bounded volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    volume: String,
    place: PathBuf,
    limit_bytes: u64,
    /// The bound as the object has it.
    limit_text: String,
}

/// The pod's bounded volumes. `directory` is the pod's own.
pub(crate) fn bounds(pod: &Pod, directory: &Path) -> Vec<Bound> {
    let volumes = directory.join("volumes");
    let bound = |volume: &trireme_proto::api::core::v1::Volume| {
        let source = volume.volume_source.as_ref()?.empty_dir.as_ref()?;
        let limit = source.size_limit.as_ref()?;
        let bytes = u64::try_from(quantity_value(limit)? / 1_000)
            .ok()
            .filter(|bytes| *bytes > 0)?;
        Some(Bound {
            volume: volume.name.clone(),
            place: join_component(&volumes, &volume.name).ok()?,
            limit_bytes: bytes,
            limit_text: limit.string.clone(),
        })
    };
    spec_of(pod).volumes.iter().filter_map(bound).collect()
}

/// What is wrong with the first volume that holds too much.
pub(crate) fn excess(bounds: &[Bound]) -> Option<String> {
    let over = bounds
        .iter()
        .find(|bound| used_bytes(&bound.place) > bound.limit_bytes)?;
    Some(format!(
        "Usage of EmptyDir volume {:?} exceeds the limit {:?}.",
        over.volume, over.limit_text
    ))
}

/// What the files below a directory take up. Links are not followed; what vanishes meanwhile counts nothing.
fn used_bytes(place: &Path) -> u64 {
    let mut waiting = vec![place.to_owned()];
    let (mut bytes, mut entries) = (0_u64, 0);
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            entries += 1;
            if entries > limits::MEASURED_ENTRIES_MAX {
                return bytes;
            }
            let Ok(metadata) = entry.path().symlink_metadata() else {
                continue;
            };
            bytes = bytes.saturating_add(metadata.blocks().saturating_mul(BLOCK_BYTES));
            if metadata.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use trireme_proto::api::core::v1::{EmptyDirVolumeSource, PodSpec, Volume, VolumeSource};
    use trireme_proto::api::meta::v1::Quantity;

    fn pod(size_limit: Option<&str>) -> Pod {
        let size_limit = size_limit.map(|text| Quantity {
            string: text.to_owned(),
        });
        let source = VolumeSource {
            empty_dir: Some(EmptyDirVolumeSource {
                size_limit,
                ..EmptyDirVolumeSource::default()
            }),
            ..VolumeSource::default()
        };
        Pod {
            spec: Some(PodSpec {
                volumes: vec![Volume {
                    name: "cache".to_owned(),
                    volume_source: Some(source),
                }],
                ..PodSpec::default()
            }),
            ..Pod::default()
        }
    }

    #[test]
    fn only_a_bounded_volume_can_hold_too_much() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("volumes/cache/deep");
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join("data"), vec![7; 200 * 1024]).unwrap();
        std::os::unix::fs::symlink("/usr", place.join("link")).unwrap();
        for (limit, expected) in [
            (None, None),
            (Some("0"), None),
            (Some("1Mi"), None),
            (
                Some("100Ki"),
                Some("Usage of EmptyDir volume \"cache\" exceeds the limit \"100Ki\"."),
            ),
        ] {
            let found = excess(&bounds(&pod(limit), directory.path()));
            assert_eq!(found.as_deref(), expected, "{limit:?}");
        }
    }
}
