//! From a container's configuration to a command of this machine: program, arguments, environment,
//! working directory, volumes.

use super::super::{ContainerConfig, ExecOutcome, Mount, RuntimeError, SandboxConfig};
use super::images::{ImageStore, StoredImage};
use super::liveness;
use super::records::ContainerRecord;
use crate::image::resolve_beneath;
use crate::paths::{self, join_relative};
use crate::time::wall_now;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;

/// The variable with the pod's address.
const POD_IP_VARIABLE: &str = "TRIREME_POD_IP";
/// The variable with the directory below which volumes lie.
const VOLUMES_VARIABLE: &str = "TRIREME_VOLUMES";
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/";
/// Output of a command in a container that is kept.
const EXEC_OUTPUT_MAX_BYTES: u64 = 64 * 1024;

fn refused(message: String) -> RuntimeError {
    RuntimeError::Failed {
        operation: "creating a container",
        message,
    }
}

/// Makes the record of a container, and its volume links below `directory`.
pub(super) fn prepare(
    sandbox_id: &str,
    address: Option<IpAddr>,
    directory: &Path,
    sandbox: &SandboxConfig,
    config: &ContainerConfig,
    image: &StoredImage,
) -> Result<ContainerRecord, RuntimeError> {
    let volumes = directory.join("volumes");
    link_volumes(&volumes, &config.mounts)?;
    let mut env = environment(config, image, sandbox);
    if let Some(address) = address {
        env.push((POD_IP_VARIABLE.to_owned(), address.to_string()));
    }
    env.push((VOLUMES_VARIABLE.to_owned(), volumes.display().to_string()));
    let mut words = command_line(config, image)?;
    let arguments = words.split_off(1);
    let program = find_program(&image.root, &words[0], &env)
        .ok_or_else(|| refused(format!("{:?} is not in image {}", words[0], config.image)))?;
    let (user, group) = identity(config, image)?;
    let log = sandbox
        .log_directory
        .join(&config.name)
        .join(paths::log_file_name(config.attempt));
    Ok(ContainerRecord {
        sandbox_id: sandbox_id.to_owned(),
        pod: sandbox.pod.clone(),
        name: config.name.clone(),
        attempt: config.attempt,
        image: config.image.clone(),
        image_id: format!("sha256:{}", image.id),
        created_at: wall_now(),
        boot_id: liveness::boot_id(),
        program,
        arguments,
        env,
        directory: working_directory(config, image)?,
        log,
        user,
        group,
    })
}

/// The pod's command and arguments replace the image's as Kubernetes says: a command drops the
/// image's arguments too.
fn command_line(config: &ContainerConfig, image: &StoredImage) -> Result<Vec<String>, RuntimeError> {
    let mut words = config.command.clone();
    if words.is_empty() {
        words = image.settings.entrypoint.clone().unwrap_or_default();
    }
    if config.args.is_empty() {
        if config.command.is_empty() {
            words.extend(image.settings.cmd.clone().unwrap_or_default());
        }
    } else {
        words.extend(config.args.iter().cloned());
    }
    if words.is_empty() {
        return Err(refused(format!(
            "neither the pod nor image {} names a command",
            config.image
        )));
    }
    Ok(words)
}

fn environment(config: &ContainerConfig, image: &StoredImage, sandbox: &SandboxConfig) -> Vec<(String, String)> {
    let mut env = vec![
        ("PATH".to_owned(), PATH_DEFAULT.to_owned()),
        ("HOSTNAME".to_owned(), sandbox.hostname.clone()),
        ("HOME".to_owned(), "/".to_owned()),
    ];
    let of_image = image
        .settings
        .env
        .iter()
        .flatten()
        .filter_map(|entry| entry.split_once('='));
    env.extend(of_image.map(|(name, value)| (name.to_owned(), value.to_owned())));
    env.extend(config.env.iter().cloned());
    env
}

/// Looks a program up in the image: by its path, or along `PATH`. Never on the host.
fn find_program(root: &Path, word: &str, env: &[(String, String)]) -> Option<PathBuf> {
    let in_image = |path: &Path| resolve_beneath(root, path).ok().filter(|found| found.is_file());
    if word.contains('/') {
        return in_image(Path::new(word));
    }
    let search = env
        .iter()
        .rev()
        .find(|(name, _)| name == "PATH")
        .map_or(PATH_DEFAULT, |(_, value)| value);
    search
        .split(':')
        .find_map(|directory| in_image(&Path::new(directory).join(word)))
}

fn working_directory(config: &ContainerConfig, image: &StoredImage) -> Result<PathBuf, RuntimeError> {
    let wanted = if config.working_dir.is_empty() {
        image.settings.working_dir.clone().unwrap_or_default()
    } else {
        config.working_dir.clone()
    };
    let directory = resolve_beneath(&image.root, Path::new(&wanted)).map_err(|error| refused(error.to_string()))?;
    if directory.is_dir() {
        Ok(directory)
    } else {
        Err(refused(format!("{wanted:?} is no directory of the image")))
    }
}

/// The user to run as; `None` keeps the agent's. Another user needs root.
fn identity(config: &ContainerConfig, image: &StoredImage) -> Result<(Option<u32>, Option<u32>), RuntimeError> {
    let own = nix::unistd::geteuid();
    let of_image = image.settings.user.as_deref().unwrap_or_default();
    let (image_user, image_group) = of_image.split_once(':').unwrap_or((of_image, ""));
    let wanted = |asked: Option<i64>, of_image: &str| match asked {
        Some(id) => u32::try_from(id)
            .map(Some)
            .map_err(|_| refused(format!("{id} is no user or group id"))),
        // An image's own user is a wish that a machine without root cannot grant.
        None => Ok(of_image.parse().ok().filter(|_| own.is_root())),
    };
    let user = wanted(config.security.run_as_user, image_user)?;
    let group = wanted(config.security.run_as_group, image_group)?;
    if let Some(user) = user.filter(|user| !own.is_root() && *user != own.as_raw()) {
        return Err(refused(format!(
            "running as user {user} needs an agent that runs as root"
        )));
    }
    let user = user.filter(|_| own.is_root());
    Ok((user, group.filter(|_| own.is_root())))
}

/// Offers each mount as a link below `volumes`, at the path it would have in the container.
fn link_volumes(volumes: &Path, mounts: &[Mount]) -> Result<(), RuntimeError> {
    let failed = |source| RuntimeError::Io {
        operation: "linking a volume",
        source,
    };
    paths::make_private_directory(volumes).map_err(failed)?;
    let mut sorted: Vec<&Mount> = mounts.iter().collect();
    sorted.sort_by(|left, right| left.container_path.cmp(&right.container_path));
    for mount in sorted {
        let relative = Path::new(mount.container_path.trim_start_matches('/'));
        let link = join_relative(volumes, relative).map_err(|error| refused(error.to_string()))?;
        let parent = link.parent().unwrap_or(volumes);
        if link == volumes || !is_below_plain_directories(volumes, parent) {
            return Err(refused(format!(
                "the process runtime cannot mount {:?}: it is the root or lies inside another mount",
                mount.container_path
            )));
        }
        std::fs::create_dir_all(parent).map_err(failed)?;
        std::os::unix::fs::symlink(&mount.host_path, &link).map_err(failed)?;
    }
    Ok(())
}

fn is_below_plain_directories(base: &Path, path: &Path) -> bool {
    let between = path.ancestors().take_while(|ancestor| *ancestor != base);
    between.into_iter().all(|ancestor| !ancestor.is_symlink())
}

/// Runs a command with a container's environment, and takes its output and exit code.
pub(super) async fn exec(
    images: &ImageStore,
    record: &ContainerRecord,
    command: &[String],
    timeout: Duration,
) -> Result<ExecOutcome, RuntimeError> {
    let failed = |message: String| RuntimeError::Failed {
        operation: "running a command",
        message,
    };
    let image = images.find(&record.image)?;
    let image = image.ok_or_else(|| RuntimeError::NotFound {
        what: format!("image {}", record.image),
    })?;
    let word = command
        .first()
        .ok_or_else(|| failed("the command is empty".to_owned()))?;
    let program = find_program(&image.root, word, &record.env)
        .ok_or_else(|| failed(format!("{word:?} is not in image {}", record.image)))?;
    let mut child = tokio::process::Command::new(program)
        .args(&command[1..])
        .env_clear()
        .envs(record.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&record.directory)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let stdout = child.stdout.take();
    let work = async {
        let mut output = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(EXEC_OUTPUT_MAX_BYTES).read_to_end(&mut output).await?;
        }
        Ok::<_, std::io::Error>((output, child.wait().await?))
    };
    match tokio::time::timeout(timeout, work).await {
        Ok(Ok((output, status))) => Ok(ExecOutcome {
            exit_code: status.code().unwrap_or(-1),
            output,
        }),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!("no end after {} s", timeout.as_secs()))),
    }
}
