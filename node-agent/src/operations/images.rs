//! Images: made sure of before a container starts, and imported from archives that an operator laid ready.

use super::{Order, OrderFailure, Workshop, failure, of_runtime};
use crate::events::PodEvent;
use crate::pod::PullPolicy;
use crate::pod::spec::spec_of;
use crate::runtime::Runtime;
use tokio::time::Instant;

impl Workshop {
    /// Makes sure that an image is there, and tells how that went.
    pub(super) async fn ensure_image(
        &self,
        order: &Order,
        image: &str,
        policy: PullPolicy,
    ) -> Result<(), OrderFailure> {
        let outcome = self.fetch_image(order, image, policy).await;
        if let Err(failure) = &outcome {
            let message = if failure.reason == "ErrImagePull" {
                format!("Failed to pull image {image:?}: {}", failure.message)
            } else {
                failure.message.clone()
            };
            self.tell_of_image(order, image, PodEvent::warning("Failed", message));
            let word = format!("Error: {}", failure.reason);
            self.tell_of_image(order, image, PodEvent::warning("Failed", word));
        }
        outcome
    }

    async fn fetch_image(&self, order: &Order, image: &str, policy: PullPolicy) -> Result<(), OrderFailure> {
        if let Err(error) = crate::image::normalise(image) {
            return Err(failure("InvalidImageName", error.to_string()));
        }
        if policy != PullPolicy::Always {
            let found = self.runtime.image(image).await;
            if found.map_err(of_runtime("ImageInspectError"))?.is_some() {
                let message = format!("Container image {image:?} already present on machine");
                self.tell_of_image(order, image, PodEvent::normal("Pulled", message));
                return Ok(());
            }
            if policy == PullPolicy::Never {
                let message = format!("image {image:?} is not there and the pod's pull policy is Never");
                return Err(failure("ErrImageNeverPull", message));
            }
        }
        let began = Instant::now();
        let message = format!("Pulling image {image:?}");
        self.tell_of_image(order, image, PodEvent::normal("Pulling", message));
        let pulled = self.runtime.pull_image(image).await;
        pulled.map_err(of_runtime("ErrImagePull"))?;
        let seconds = began.elapsed().as_secs_f64();
        let message = format!("Successfully pulled image {image:?} in {seconds:.3}s");
        self.tell_of_image(order, image, PodEvent::normal("Pulled", message));
        Ok(())
    }

    /// An event about an image is one about the first container that has it.
    fn tell_of_image(&self, order: &Order, image: &str, event: PodEvent) {
        let container = order.pod.as_ref().and_then(|pod| {
            let spec = spec_of(pod);
            let mut all = spec.init_containers.iter().chain(&spec.containers);
            all.find(|container| container.image == image)
        });
        let event = match container {
            Some(container) => event.about(order.pod.as_ref(), &container.name),
            None => event,
        };
        self.events.tell(&order.identity, event);
    }
}

/// Imports every archive of a directory; one that cannot be imported is reported and left out.
pub(crate) async fn import_images(runtime: &dyn Runtime, directory: &std::path::Path) {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!(directory = %directory.display(), %error, "the image directory cannot be read");
            return;
        }
    };
    let mut archives: Vec<std::path::PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    archives.retain(|path| path.extension().is_some_and(|extension| extension == "tar"));
    archives.sort();
    for archive in archives {
        if is_imported(runtime, &archive).await {
            continue;
        }
        match runtime.import_image(&archive).await {
            Ok(names) => tracing::info!(?names, "images imported"),
            Err(error) => {
                tracing::warn!(archive = %archive.display(), error = error.one_line(), "an image was not imported");
            }
        }
    }
}

/// True if the runtime has every image of the archive under each of its names, with the same content.
async fn is_imported(runtime: &dyn Runtime, archive: &std::path::Path) -> bool {
    let path = archive.to_owned();
    let read = tokio::task::spawn_blocking(move || crate::image::Archive::open(&path)?.images()).await;
    let Ok(Ok(images)) = read else {
        // The import says what is wrong with it.
        return false;
    };
    for image in images {
        for name in &image.names {
            let found = runtime.image(name).await.ok().flatten();
            if found.is_none_or(|found| found.id != format!("sha256:{}", image.id)) {
                return false;
            }
        }
    }
    true
}
