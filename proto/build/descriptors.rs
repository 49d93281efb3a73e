//! Compiles the `.proto` files and presents the Kubernetes messages with their options and comments.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::{Path, PathBuf};

use prost_reflect::prost::Message as _;
use prost_reflect::prost_types::{DescriptorProto, FileDescriptorSet};
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor, Value};

use crate::names;

/// Prefix of the packages whose messages have Kubernetes JSON.
const KUBERNETES: &str = "kubernetes.";

/// The packages of etcd's API. They have no JSON, and are served on a listener of their own.
const ETCD: &[&str] = &["etcdserverpb", "mvccpb", "v3electionpb", "v3lockpb"];

/// Everything that the `.proto` files say.
pub(crate) struct Descriptors {
    pool: DescriptorPool,
    files: FileDescriptorSet,
}

/// A message with Kubernetes JSON.
pub(crate) struct Message {
    pub(crate) full_name: String,
    pub(crate) package: String,
    pub(crate) name: String,
    pub(crate) doc: String,
    /// Group, version and kind, if its objects stand for themselves.
    pub(crate) kind: Option<(String, String, String)>,
    /// In the order of the `.proto` file.
    pub(crate) fields: Vec<Field>,
}

/// A field of such a message.
pub(crate) struct Field {
    pub(crate) json_name: String,
    pub(crate) number: u32,
    pub(crate) doc: String,
    pub(crate) shape: Shape,
    pub(crate) value: ValueType,
    pub(crate) inline: bool,
    pub(crate) always: bool,
    pub(crate) required: bool,
    pub(crate) merge_key: String,
    pub(crate) merge: bool,
    pub(crate) retain_keys: bool,
    pub(crate) replace: bool,
    pub(crate) list_type: String,
    pub(crate) list_map_keys: Vec<String>,
    pub(crate) atomic: bool,
    pub(crate) default_value: String,
}

/// How often the field's value occurs.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Shape {
    /// Plain in Rust.
    Plain,
    /// An `Option` in Rust.
    Optional,
    List,
    Map,
}

/// What the field's value, or each value of a list or map, is.
pub(crate) enum ValueType {
    /// A variant of `schema::Scalar`.
    Scalar(&'static str),
    /// Full name of the message.
    Message(String),
}

impl Descriptors {
    /// Compiles every `.proto` file below `root`.
    pub(crate) fn compile(root: &Path) -> Result<Self, Box<dyn Error>> {
        let mut paths = Vec::new();
        for folder in ["kubernetes", "trireme", "cri", "etcd"] {
            paths.extend(proto_files(&root.join(folder))?);
        }
        // Files in `trireme` import each other by bare name, so it is an include root of its own.
        let mut compiler = protox::Compiler::new([root.join("trireme"), root.to_path_buf()])?;
        compiler
            .include_source_info(true)
            .include_imports(true)
            .open_files(paths)?;
        Ok(Self {
            pool: compiler.descriptor_pool(),
            files: compiler.file_descriptor_set(),
        })
    }

    /// The descriptors for gRPC reflection: without comments, which would more than double them. Either those of
    /// etcd's API or all the others, since each of the two listeners tells only what it serves.
    pub(crate) fn for_reflection(&self, etcd: bool) -> Vec<u8> {
        let mut files = self.files.clone();
        files.file.retain(|file| ETCD.contains(&file.package()) == etcd);
        for file in &mut files.file {
            file.source_code_info = None;
        }
        files.encode_to_vec()
    }

    /// The descriptors for prost: Kubernetes' and etcd's fields renamed to their Rust names, options left out.
    pub(crate) fn for_prost(&self) -> FileDescriptorSet {
        let mut files = self.files.clone();
        files
            .file
            .retain(|file| file.package() != "trireme" && file.package() != "google.protobuf");
        for file in &mut files.file {
            if file.package().starts_with(KUBERNETES) || ETCD.contains(&file.package()) {
                file.message_type.iter_mut().for_each(rename_fields);
            }
        }
        files
    }

    /// Whether any file belongs to the package.
    pub(crate) fn has_package(&self, package: &str) -> bool {
        self.files.file.iter().any(|file| file.package() == package)
    }

    /// The packages whose messages have Kubernetes JSON.
    pub(crate) fn kubernetes_packages(&self) -> BTreeSet<String> {
        let packages = self.files.file.iter().map(|file| file.package().to_owned());
        packages.filter(|package| package.starts_with(KUBERNETES)).collect()
    }

    /// The messages with Kubernetes JSON, by full name.
    pub(crate) fn kubernetes_messages(&self) -> BTreeMap<String, Message> {
        let comments = self.comments();
        let messages = self
            .pool
            .all_messages()
            .filter(|message| message.package_name().starts_with(KUBERNETES) && !message.is_map_entry());
        messages
            .map(|message| (message.full_name().to_owned(), self.message(&message, &comments)))
            .collect()
    }

    fn message(&self, message: &MessageDescriptor, comments: &Comments) -> Message {
        let file = message.parent_file().name().to_owned();
        let options = message.options();
        let mut fields: Vec<_> = message.fields().collect();
        fields.sort_by_key(|field| field.path().to_vec());
        Message {
            full_name: message.full_name().to_owned(),
            package: message.package_name().to_owned(),
            name: message.name().to_owned(),
            doc: comment(comments, &file, message.path()),
            kind: self
                .extension(&options, "trireme.kind")
                .map(|kind| (text(&kind, "group"), text(&kind, "version"), text(&kind, "kind"))),
            fields: fields
                .iter()
                .map(|field| {
                    let rules = self.extension(&field.options(), "trireme.field");
                    let rules = rules.as_ref();
                    let flag = |name| rules.is_some_and(|rules| flag(rules, name));
                    let text = |name| rules.map(|rules| text(rules, name)).unwrap_or_default();
                    let (shape, kind) = shape(field);
                    Field {
                        json_name: field.name().to_owned(),
                        number: field.number(),
                        doc: comment(comments, &file, field.path()),
                        shape,
                        value: value_type(&kind),
                        inline: flag("inline"),
                        always: flag("always"),
                        required: flag("required"),
                        merge_key: text("merge_key"),
                        merge: flag("merge"),
                        retain_keys: flag("retain_keys"),
                        replace: flag("replace"),
                        list_type: text("list_type"),
                        list_map_keys: rules.map(|r| texts(r, "list_map_keys")).unwrap_or_default(),
                        atomic: flag("atomic"),
                        default_value: text("default_value"),
                    }
                })
                .collect(),
        }
    }

    /// The value of one of our options, if it is set.
    fn extension(&self, options: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
        let extension = self.pool.get_extension_by_name(name)?;
        if !options.has_extension(&extension) {
            return None;
        }
        options.get_extension(&extension).as_message().cloned()
    }

    fn comments(&self) -> Comments {
        let mut comments = Comments::new();
        for file in &self.files.file {
            for location in file.source_code_info.iter().flat_map(|info| &info.location) {
                let words: Vec<_> = location.leading_comments().split_whitespace().collect();
                if !words.is_empty() {
                    let key = (file.name().to_owned(), location.path.clone());
                    comments.insert(key, words.join(" "));
                }
            }
        }
        comments
    }
}

/// Comments by file name and descriptor path.
type Comments = BTreeMap<(String, Vec<i32>), String>;

fn comment(comments: &Comments, file: &str, path: &[i32]) -> String {
    let key = (file.to_owned(), path.to_vec());
    comments.get(&key).cloned().unwrap_or_default()
}

fn proto_files(folder: &Path) -> Result<Vec<PathBuf>, std::io::Error> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn rename_fields(message: &mut DescriptorProto) {
    for field in &mut message.field {
        field.name = Some(names::field(field.name()));
    }
}

fn shape(field: &prost_reflect::FieldDescriptor) -> (Shape, Kind) {
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else {
            unreachable!("a map field's type is its entry message");
        };
        return (Shape::Map, entry.map_entry_value_field().kind());
    }
    let shape = match field.kind() {
        _ if field.is_list() => Shape::List,
        Kind::Message(_) => Shape::Optional,
        _ if field.supports_presence() => Shape::Optional,
        _ => Shape::Plain,
    };
    (shape, field.kind())
}

fn value_type(kind: &Kind) -> ValueType {
    match kind {
        Kind::Message(message) => ValueType::Message(message.full_name().to_owned()),
        Kind::Bool => ValueType::Scalar("Bool"),
        Kind::Int32 => ValueType::Scalar("Int32"),
        Kind::Int64 => ValueType::Scalar("Int64"),
        Kind::String => ValueType::Scalar("String"),
        Kind::Bytes => ValueType::Scalar("Bytes"),
        Kind::Double => ValueType::Scalar("Double"),
        other => unreachable!("Kubernetes' messages have no fields of type {other:?}"),
    }
}

fn flag(message: &DynamicMessage, name: &str) -> bool {
    message
        .get_field_by_name(name)
        .and_then(|value| value.as_bool())
        .unwrap_or(false)
}

fn text(message: &DynamicMessage, name: &str) -> String {
    let value = message.get_field_by_name(name);
    value
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn texts(message: &DynamicMessage, name: &str) -> Vec<String> {
    let value = message.get_field_by_name(name);
    let list = value.as_ref().and_then(|value| value.as_list()).unwrap_or_default();
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
